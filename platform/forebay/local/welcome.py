"""What `manage.py up` prints when everything is ready: under ten lines, and each command in it works when pasted."""

import os
import shlex
import sys
from pathlib import Path

from django.conf import settings

from forebay.local import demo, node

EVENT = '{"source":"demo","level":"INFO","message":"hello"}'


def welcome(kafka: str, made: demo.Demo) -> str:
    """`kafka` names the cluster and its address."""
    password = made.admin_password or "(changed since; `manage.py changepassword` sets another)"
    return "\n".join(
        [
            f"Forebay runs on {kafka}; Ctrl-C stops it",
            f"  API      {node.local_url('/api/logs')}",
            *_listening(),
            f"  docs     {node.local_url('/api/docs/')}",
            f"  metrics  {node.local_url('/metrics')}",
            f"  admin    {node.local_url('/admin/')} as {demo.ADMIN} with {password}",
            f"  key      {made.api_key} (kept in {_short(demo.default_path())})",
            f"  {_curl(made.api_key)}",
            f"  {_consume()}",
        ]
    )


def _listening() -> list[str]:
    port = settings.FOREBAY_LISTEN_PORT
    return [f"  streams  {node.local_url('/api/logs/stream', port)}"] if port else []


def _curl(api_key: str) -> str:
    words = ["curl", "-sS", node.local_url("/api/logs"), "-H", f"Authorization: Bearer {api_key}"]
    return shlex.join([*words, "-H", "Content-Type: application/json", "-d", EVENT])


def _consume() -> str:
    var_dir = os.environ.get("FOREBAY_VAR_DIR")
    where = [f"FOREBAY_VAR_DIR={shlex.quote(var_dir)}"] if var_dir else []
    command = [_short(Path(sys.executable)), _short(settings.BASE_DIR / "manage.py"), "consume", "--follow"]
    return " ".join([*where, shlex.join(command)])


def _short(path: Path) -> str:
    """As a person in the present directory would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
