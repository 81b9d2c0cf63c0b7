"""`python -m bench.tail`: how fast `forebay tail` reads a large file, and in how much memory. Some minutes.

The first rows read, frame and encode the file to events that go into a sink, by the tailer as it is but for the
network; each in a process of its own, which tells its CPU time and the most memory it had. The last sends a file to a
worker in front of a real Kafka, by the very command that people type. `--mb 1000` is the file's size, `--sent-mb 200`
that of the last row, 0 for none; `--rows plain` chooses.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bench import servers, site
from bench.payloads import events
from bench.processes import cpu_s
from bench.topic_end import TopicEnd
from forebay.local.command import LocalServiceError
from forebay_client.tail.checkpoints import Checkpoints
from forebay_client.tail.command import SystemClock
from forebay_client.tail.options import Input, Options, checked
from forebay_client.tail.tailer import Tailer
from forebay_client.wire import Outcome

ROOT: Final = Path(__file__).resolve().parents[1]
DIRECTORY: Final = ROOT / "var" / "bench"
GOAL_MB_PER_S: Final = 50
LINE_BYTES: Final = 240
BLOCK_LINES: Final = 4_000
# Of each row: the lines, and how they are read.
ROWS: Final[dict[str, dict[str, str]]] = {
    "plain": {},
    "json": {"format": "json"},
    "indent": {"multiline": "indent"},
}
COLUMNS: Final = "{:16} {:>8} {:>10} {:>18} {:>8} {:>14} {:>9}"


class CountingSink:
    """Takes everything, and keeps only what CPU time each batch took."""

    def __init__(self) -> None:
        self.events = 0
        self._before_cpu_s = time.process_time()
        self._costs_s: list[float] = []

    @property
    def quickest_tenth_s(self) -> float:
        """CPU time an event of the batches that were disturbed least: other programs on the same core slow one down
        in its own CPU time, too."""
        ranked = sorted(self._costs_s)
        return ranked[len(ranked) // 10]

    def send(self, batch: Sequence[bytes], /) -> Outcome:
        self.events += len(batch)
        now_cpu_s = time.process_time()
        self._costs_s.append((now_cpu_s - self._before_cpu_s) / len(batch))
        self._before_cpu_s = now_cpu_s
        return Outcome(202, accepted=range(len(batch)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1000, metavar="N")
    parser.add_argument("--sent-mb", type=int, default=200, metavar="N")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--read", nargs=2, metavar=("ROW", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        if given.read:
            print(json.dumps(read(given.read[0], Path(given.read[1]))))
        else:
            measure(given.mb, given.sent_mb, given.rows)
    except LocalServiceError as lacking:
        sys.exit(f"bench: {lacking}")


def measure(size_mb: int, sent_mb: int, rows: Sequence[str]) -> None:
    """Prints a line for each row."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    print(f"load {os.getloadavg()[0]:.1f}; lines of {LINE_BYTES} bytes; the goal is {GOAL_MB_PER_S} MB/s")
    print(COLUMNS.format("row", "MB", "MB/CPU-s", "quickest tenth", "MB/s", "events/CPU-s", "peak MB"))
    with tempfile.TemporaryDirectory(dir=DIRECTORY, prefix="tail-") as directory:
        for row in rows:
            path = Path(directory) / f"{row}.log"
            write(path, row, size_mb)
            _show(row, _child("-m", "bench.tail", "--read", row, str(path)))
            path.unlink()
        if sent_mb:
            path = Path(directory) / "sent.log"
            write(path, "plain", sent_mb)
            _show("plain, to Kafka", send(path, Path(directory) / "state"))


def read(row: str, path: Path) -> dict[str, float]:
    """This process reads the whole file into a sink."""
    sink = CountingSink()
    with tempfile.TemporaryDirectory() as state:
        kind = checked(Input(paths=(str(path),), **ROWS[row]))  # type: ignore[arg-type]  # names of texts
        options = Options(inputs=(kind,), url="", key="", state=Path(state), once=True)
        checkpoints = Checkpoints(options.state)
        tailer = Tailer(options, checkpoints, sink, SystemClock(), lambda line: None)
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        tailer.run()
        took_s, took_cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
        checkpoints.close()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    quickest_cpu_s = sink.quickest_tenth_s * sink.events
    return _figures(tailer.counts.read_bytes, sink.events, took_cpu_s, quickest_cpu_s, took_s, peak_mb)


def send(path: Path, state: Path) -> dict[str, float]:
    """`forebay tail --once` to a worker; only what Kafka has counts."""
    with site.opened(_say) as place, servers.forebay("tail", place) as server:
        topic = TopicEnd(place.bootstrap, site.TOPIC)
        # The server's probe was an event, too.
        before, server_before_s = topic.when_still(1), cpu_s(server.service.pids())
        began_s, used_before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {"FOREBAY_URL": server.url(""), "FOREBAY_KEY": place.key}
        _run(["-m", "forebay_client", "tail", "--once", "--state", str(state), str(path)], environment)
        took_s, used = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
        stored = topic.when_still(before + sum(block.count(b"\n") for block in _blocks(path))) - before
        server_cpu_s = cpu_s(server.service.pids()) - server_before_s
        topic.close()
    own_cpu_s = used.ru_utime + used.ru_stime - used_before.ru_utime - used_before.ru_stime
    _say(f"{stored:,} records in Kafka; the server took {server_cpu_s:.1f} CPU-s, the tailer {own_cpu_s:.1f}")
    nan = float("nan")
    return _figures(path.stat().st_size, stored, own_cpu_s, nan, took_s, nan)


def write(path: Path, row: str, size_mb: int) -> None:
    """The same block of lines again and again, each with the time of now in front, so that the times are taken."""
    make = _LINES[row]
    with path.open("wb") as file:
        while file.tell() < size_mb * 1_000_000:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
            file.write(make(stamp))


def _plain(stamp: str) -> bytes:
    prefix = f"{stamp}.123Z INFO  shop.payments "
    return "".join(f"{prefix}{text[: LINE_BYTES - len(prefix) - 1]}\n" for text in _MESSAGES).encode()


def _json(stamp: str) -> bytes:
    return b"\n".join(b'{"timestamp":"%s.123Z",%s' % (stamp.encode(), event[1:]) for event in _PAYLOADS) + b"\n"


def _indent(stamp: str) -> bytes:
    """Each fifth line begins an event."""
    lines = _plain(stamp).splitlines()
    return b"\n".join(b"    at " + line if number % 5 else line for number, line in enumerate(lines)) + b"\n"


_PAYLOADS: Final = events(BLOCK_LINES, LINE_BYTES)
_MESSAGES: Final = [json.loads(event)["message"] for event in events(BLOCK_LINES, 2 * LINE_BYTES)]
_LINES: Final[dict[str, Callable[[str], bytes]]] = {"plain": _plain, "json": _json, "indent": _indent}


def _figures(
    read_bytes: int, events_: int, took_cpu_s: float, quickest_cpu_s: float, took_s: float, peak_mb: float
) -> dict[str, float]:
    return {
        "mb": read_bytes / 1e6,
        "mb_per_cpu_s": read_bytes / 1e6 / took_cpu_s,
        "quickest_tenth": read_bytes / 1e6 / quickest_cpu_s,
        "mb_per_s": read_bytes / 1e6 / took_s,
        "events_per_cpu_s": events_ / took_cpu_s,
        "peak_mb": peak_mb,
    }


def _show(row: str, found: dict[str, float]) -> None:
    mb, per_cpu_s, quickest, per_s, events_per_cpu_s, peak_mb = found.values()
    texts = (f"{mb:,.0f}", f"{per_cpu_s:.1f}", f"{quickest:.1f}", f"{per_s:.1f}", f"{events_per_cpu_s:,.0f}")
    cells = ["-" if text == "nan" else text for text in (*texts, f"{peak_mb:.0f}")]
    print(COLUMNS.format(row, *cells), flush=True)


def _child(*arguments: str) -> dict[str, float]:
    found: dict[str, Any] = json.loads(_run(list(arguments), {}))
    return found


def _run(arguments: list[str], environment: dict[str, str]) -> str:
    """By the interpreter of this process, with its paths."""
    paths = os.pathsep.join(path for path in sys.path if path)
    env = os.environ | {"PYTHONPATH": paths} | environment
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise LocalServiceError(f"{' '.join(arguments)} ended with {done.returncode}; what it said is above")
    return done.stdout


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
