"""`python -m bench.client_log_call`: what a log call costs the application that sends its logs with the client.

The server is a sink in a process of its own that accepts everything: what is measured is the application's side alone.
Compared with a handler that does nothing, in the same run, call by call of the same kind.
"""

import argparse
import gc
import http.server
import logging
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NamedTuple

from forebay_client import Client, ForebayHandler, correlated

CALLS = 20_000
# Sent before the next comes: an application that logs ten times this in a second pays for no more memory than this.
BURST_CALLS = 1_000
REPEAT = 7
TARGET_US = 15.0
FLUSH_S = 60.0

DESCRIPTION = """\
columns, in microseconds a call, median of the repetitions (lowest to highest):
  in the caller  CPU time of the calling thread, the logging module's own part among it: what the target speaks of
  by the clock   the same by the clock on the wall, other threads and the machine's other work in it
  in all         CPU time of the whole process until everything is answered: encoding, compression and sending too
  of logging     CPU time of the calling thread with a handler that does nothing
"""


class Kind(NamedTuple):
    """What the application logs."""

    name: str
    call: Callable[[logging.Logger, int], None]


def _plain(logger: logging.Logger, number: int) -> None:
    logger.info("order %d was charged in %d ms", number, 12)


def _with_extra(logger: logging.Logger, number: int) -> None:
    logger.info("order was charged", extra={"order": number, "took_ms": 12.5, "customer": "c-1729"})


def _with_exception(logger: logging.Logger, number: int) -> None:
    try:
        raise KeyError(number)
    except KeyError:
        logger.exception("order %d was declined", number)


KINDS = [
    Kind("a message with arguments", _plain),
    Kind("with three fields in extra", _with_extra),
    Kind("with an exception", _with_exception),
]


class Cost(NamedTuple):
    """Of one call, in microseconds."""

    caller: float
    clock: float
    process: float


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.client_log_call",
        description=(__doc__ or "") + "\n" + DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--calls", type=int, default=CALLS, metavar="N", help="calls in each repetition")
    parser.add_argument("--repeat", type=int, default=REPEAT, metavar="N", help="repetitions")
    arguments = parser.parse_args()
    receiving, sending = multiprocessing.Pipe(duplex=False)
    sink = multiprocessing.get_context("spawn").Process(target=_sink, args=(sending,), daemon=True)
    sink.start()
    client = Client(f"http://127.0.0.1:{receiving.recv()}", "fb_bench", source="bench", buffer_max_bytes=256 << 20)
    try:
        _measure(client, arguments.calls, arguments.repeat)
    finally:
        client.close()
        sink.kill()


def _measure(client: Client, calls: int, repeat: int) -> None:
    python, load = ".".join(map(str, sys.version_info[:3])), os.getloadavg()[0]
    print(f"Python {python}, load {load:.1f} on {os.cpu_count()} cores at the start")
    print(f"{repeat} repetitions of {calls} calls in bursts of {BURST_CALLS}, with a correlation id")
    print(f"{'':<28} {'in the caller':>20} {'by the clock':>20} {'in all':>20} {'of logging':>20}")
    for kind in KINDS:
        costs = [
            (_cost(kind, ForebayHandler(client=client), client, calls), _cost(kind, _Bare(), None, calls))
            for _ in range(repeat)
        ]
        columns = [
            *([ours[at] for ours, _ in costs] for at in range(3)),
            [bare.caller for _, bare in costs],
        ]
        print(f"{kind.name:<28} " + " ".join(f"{_spread(column):>20}" for column in columns))
    counters = client.counters()
    print(f"{counters.taken} events, {counters.accepted} accepted, dropped {dict(counters.dropped)}")
    print(f"target: a message under {TARGET_US:.0f} in the caller; a busy machine shows in the last column")


def _cost(kind: Kind, handler: logging.Handler, client: Client | None, calls: int) -> Cost:
    logger = logging.Logger("bench.orders")  # noqa: LOG001 - one for each measurement
    logger.addHandler(handler)
    gc.collect()
    caller_s = clock_s = 0.0
    process_s = time.process_time()
    with correlated("4bf92f3577b34da6a3ce929d0e0e4736"):
        for begin in range(0, calls, BURST_CALLS):
            began_s, began_clock_s = time.thread_time(), time.perf_counter()
            for number in range(begin, begin + BURST_CALLS):
                kind.call(logger, number)
            caller_s += time.thread_time() - began_s
            clock_s += time.perf_counter() - began_clock_s
            if client is not None and not client.flush(FLUSH_S):
                sys.exit("bench: the sink does not answer")
    process_s = time.process_time() - process_s
    return Cost(*(1_000_000 * spent_s / calls for spent_s in (caller_s, clock_s, process_s)))


class _Bare(logging.Handler):
    """Does nothing, but is asked as any handler is."""

    def emit(self, record: logging.LogRecord) -> None:
        pass


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _sink(ready: Connection) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Accepting)
    ready.send(server.server_address[1])
    server.serve_forever()


class _Accepting(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"accepted":1,"failed":0}'
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    main()
