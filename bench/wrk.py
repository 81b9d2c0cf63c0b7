"""The closed-loop load: wrk, one thread, a fixed number of connections, each as fast as it is answered. Blocks."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from forebay.local.command import LocalServiceError, Say

SCRIPT: Final = Path(__file__).with_name("post.lua")
# One tenant may wait for acks with a quarter of a worker's 64 threads: no more connections, so that all may.
CONNECTIONS: Final = 16


class Closed(msgspec.Struct, frozen=True):
    """What wrk says of one run. `refused` were answered with 400 or more, `broken` not at all."""

    requests: int
    duration_us: int
    refused: int
    broken: int
    p50_us: int
    p95_us: int
    p99_us: int


def install(say: Say) -> None:
    """Makes sure that wrk is there, with apt-get where that is possible. Raises LocalServiceError."""
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing wrk with apt-get")
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], capture_output=True, check=False)
    if not shutil.which("wrk"):
        raise LocalServiceError("the load generator wrk is missing (Debian, Ubuntu: apt-get install wrk)")


def run(url: str, bodies: list[Path], seconds_s: float, key: str) -> Closed:
    """wrk takes whole seconds, so less than one is one."""
    argv = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{max(1, round(seconds_s))}s"]
    headers = ["--header", f"X-API-Key: {key}", "--header", "Content-Type: application/json"]
    argv += ["--timeout", "30s", *headers, "--script", str(SCRIPT), url, "--", *map(str, bodies)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise LocalServiceError(f"wrk failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return msgspec.convert(json.loads(lines[-1]), Closed)
