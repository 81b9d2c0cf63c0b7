"""`python -m bench`: measures one Forebay worker on a real Kafka and prints one table. Main thread; minutes."""

import argparse
import signal
import sys
import time
from pathlib import Path

from bench import report, wrk
from bench.rows import ROWS
from bench.runs import Run
from forebay.local.command import LocalServiceError
from forebay.local.stop_signals import StopAsked
from forebay.local.supervisor import ChildFailed

SECONDS_S = 4.0
REPEAT = 3
INTERRUPTED = 130

DESCRIPTION = """\
Measures one Forebay worker with its shipped defaults on an Apache Kafka and a Redis of its own, all on this machine
(var/bench/site, free ports), and prints one table. The load generator and Kafka share the machine: so what counts is
events per CPU-second of the server (granian and its worker, all threads), not the clock on the wall.

columns:
  events/CPU-s  events per server CPU-second, up to the last record in Kafka; requests for null_view
  spread        half of what lies between the lowest and the highest repetition, by the median
  events/s      accepted per second of the clock
  p50 p95 p99   ms from request to answer (closed loop); from due to answered or consumed (paced rows)
  MB            most resident memory of the worker process
Every number is the median of the repetitions. Then come two ratios, median (lowest to highest), compared repetition by
repetition: batch_500 against raw_loop, single against null_view.

rows:
"""


def main() -> None:
    arguments = _parsed()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        old = report.from_json(arguments.compare.read_bytes()) if arguments.compare else None
        wrk.install(_say)
        begun_s = time.monotonic()
        found = Run(arguments.only or list(ROWS), arguments.seconds, arguments.repeat, _say).report()
        _say(f"done in {time.monotonic() - begun_s:.0f} s")
    except (LocalServiceError, ChildFailed, OSError, ValueError) as error:
        sys.exit(f"bench: {error}")
    except (KeyboardInterrupt, StopAsked):
        _say("interrupted; everything that was started is stopped")
        sys.exit(INTERRUPTED)
    _show(found, old)
    if arguments.json:
        arguments.json.write_bytes(report.to_json(found))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=DESCRIPTION + "\n".join(f"  {row.name:<16} {row.what}" for row in ROWS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeat", type=_at_least_one, default=REPEAT, metavar="N", help="measure each row N times")
    parser.add_argument("--seconds", type=float, default=SECONDS_S, metavar="S", help="load for S seconds each time")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help="only these rows")
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"write everything as JSON, schema {report.SCHEMA}")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="print new/old for each row and column too")
    return parser.parse_args()


def _show(found: report.Report, old: report.Report | None) -> None:
    cores, versions = found.machine.cores, found.versions
    print(
        f"{cores} cores ({found.machine.cpu}), load {found.machine.load_average_1min:.1f} at the start;"
        f" Python {versions['python']}, librdkafka {versions['librdkafka']}, Kafka {versions['kafka']}"
    )
    for name, value in found.settings.items():
        print(f"not as shipped: {name}={value}")
    print(report.table(found))
    if old is not None:
        print(report.comparison(found, old))


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
