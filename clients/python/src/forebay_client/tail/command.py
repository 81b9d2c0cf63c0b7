"""`forebay tail` on the command line: flags over the file over the environment, signals, an exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

from forebay_client.tail import formats, lines, options
from forebay_client.tail.checkpoints import Checkpoints
from forebay_client.tail.failures import TailError
from forebay_client.tail.options import Input, Options
from forebay_client.tail.tailer import Tailer
from forebay_client.transport import Transport

DESCRIPTION = """\
Follow log files and send their lines to Forebay, through rotation, restarts and outages, none lost and none twice.

  export FOREBAY_URL=https://logs.example.com FOREBAY_KEY=fb_...
  forebay tail /var/log/app/app.log                      follow one file
  forebay tail '/var/log/app/*.log*'                     all of them, rotated ones too; quote the globs
  forebay tail --format json app.log                     fields of JSON lines; also logfmt, and --pattern
  forebay tail --multiline indent app.log                stack traces: indented lines go with the one before
  forebay tail --multiline-start '^\\d{4}-' app.log       an event begins with a date
  forebay tail --once old.log old.log.1.gz               send what is there, and end
  forebay tail --config /etc/forebay-tail.ini            several kinds of files

How far each file was read is kept in the --state directory, so it goes on where it stopped. Each event has an id made
of its file and offset: a line that had to be sent again is known again.
"""
EPILOG = """\
A file for --config, with the names of the flags; each [files NAME] has paths of its own, one a line:

  [forebay]
  url = https://logs.example.com
  key_file = /etc/forebay/key
  state = /var/lib/forebay-tail

  [files app]
  paths = /var/log/app/*.log*
  source = checkout
  format = json

  [files web]
  paths = /var/log/nginx/access.log*
  format = pattern
  pattern = ^(?P<client>\\S+) .* \\[(?P<timestamp>[^]]+)\\] "(?P<message>[^"]*)" (?P<status>\\d+)
  timestamp_format = %d/%b/%Y:%H:%M:%S %z

Ctrl-C and SIGTERM end it cleanly. Exit code: 0, or 1 with a line that says what is wrong.
"""


class SystemClock:
    """The real one."""

    def now_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All flags of `forebay tail`. None stands for what was not given, so that a file may say it."""
    parser.add_argument("paths", nargs="*", help="files, or quoted globs; ** goes through directories")
    _add_where(parser.add_argument_group("where to"))
    _add_what(parser.add_argument_group("what is in the files"))
    _add_how(parser.add_argument_group("how"))


def _add_where(group: Any) -> None:
    group.add_argument("--url", help="Forebay's address, what comes before /api/logs; FOREBAY_URL")
    group.add_argument("--key", help="API key with the scope ingest; rather FOREBAY_KEY, for others see flags")
    group.add_argument("--key-file", type=Path, metavar="FILE", help="a file that holds the key alone")
    group.add_argument("--config", type=Path, metavar="FILE", help="an INI file, see below")
    group.add_argument(
        "--state", type=Path, metavar="DIR", help=f"where checkpoints are kept; default {options.default_state()}"
    )


def _add_what(group: Any) -> None:
    group.add_argument("--source", help="the events' source; default the path")
    group.add_argument("--host", help="the events' hostname; default this machine's")
    group.add_argument("--exclude", action="append", metavar="GLOB", help="paths or names to leave out; again for more")
    group.add_argument("--format", choices=formats.NAMES, help="default plain")
    group.add_argument("--pattern", metavar="REGEX", help="named groups message, level, timestamp; others are metadata")
    group.add_argument("--timestamp-format", metavar="FORM", help="as strptime has it; default ISO 8601 or epoch")
    group.add_argument("--zone", choices=("local", "utc"), help="of times that name none; default local")
    group.add_argument("--level", help="of lines that tell none; default INFO")
    group.add_argument("--encoding", choices=lines.NAMES, help="default utf-8; what is no text becomes U+FFFD")
    group.add_argument("--multiline", choices=options.MULTILINE, help="which lines begin an event; default off: each")
    group.add_argument("--multiline-start", metavar="REGEX", help="an event begins where it is found")
    group.add_argument("--multiline-wait-s", type=_number, metavar="S", help="the last event ends after; default 2")
    group.add_argument("--max-line-bytes", type=_count, metavar="N", help=f"default {options.MAX_LINE_BYTES}")
    group.add_argument(
        "--long-lines", choices=(lines.SPLIT, lines.CUT), help="split into events (default), or cut; metadata says so"
    )


def _add_how(group: Any) -> None:
    group.add_argument("--once", action="store_true", help="end when all that is there is sent")
    group.add_argument("--from-end", action="store_true", help="a first start skips what is there already")
    group.add_argument("--rescan-s", type=_number, metavar="S", help="how often to look for files; default 2")
    group.add_argument("--close-after-s", type=_number, metavar="S", help="a rotated file is idle so long; default 10")
    group.add_argument("--batch-events", type=_count, metavar="N", help="at most so many a request; default 5000")
    group.add_argument("--rejected-file", type=Path, metavar="FILE", help="keep events that Forebay rejects, as NDJSON")
    group.add_argument("--report-s", type=_number, metavar="S", help="how often to tell progress; default 10")


def options_of(given: argparse.Namespace, environment: Mapping[str, str], state: Path | None = None) -> Options:
    """Flags, then the file, then the environment, then `state`. Raises TailError with what is missing or wrong."""
    flags = {name: value for name, value in vars(given).items() if value is not None}
    shared, inputs = options.read_file(flags["config"]) if "config" in flags else ({}, [])
    if flags.get("paths"):
        inputs.append(_input_of(flags))
    elif inputs and (vain := sorted(flags.keys() & options.FILES_NAMES - {"paths"})):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in vain)
        raise TailError(f"{names}: of paths on the command line, and there are none; write it into {flags['config']}")
    if not inputs:
        raise TailError("which files? Name them, or globs in quotes, or --config FILE; --help has examples")
    shared.update((name, flags[name]) for name in options.SHARED_NAMES if name in flags)
    key = flags.get("key") or _key(flags.get("key_file") or shared.pop("key_file", None)) or shared.get("key")
    shared.pop("key_file", None)
    shared["key"] = key or environment.get("FOREBAY_KEY") or ""
    shared["url"] = shared.get("url") or environment.get("FOREBAY_URL") or ""
    if not shared["url"]:
        raise TailError("where to? Give --url https://... or FOREBAY_URL")
    if not shared["key"]:
        raise TailError("no API key: give FOREBAY_KEY or --key-file FILE")
    shared.setdefault("state", state or options.default_state())
    return Options(
        inputs=tuple(map(options.checked, inputs)),
        once=flags.get("once", False),
        **{**shared, "start_at_end": flags.get("from_end", False) or shared.get("start_at_end", False)},
    )


def _input_of(flags: dict[str, Any]) -> Input:
    given = {name: value for name, value in flags.items() if name in options.FILES_NAMES}
    given["exclude"] = tuple(given.get("exclude", ()))
    return Input(**{**given, "paths": tuple(flags["paths"])})


def _key(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise TailError(f"cannot read the key from {path}: {error}") from error


def _count(text: str) -> int:
    return int(_argument(options.natural, text))


def _number(text: str) -> float:
    return float(_argument(options.positive, text))


def _argument(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0") from None


def say_on_stderr(line: str) -> None:
    """What it is doing, and what is wrong."""
    print(f"forebay tail: {line}", file=sys.stderr, flush=True)  # noqa: T201  # a command talks to its terminal


def run(settings: Options, say: Callable[[str], None]) -> None:
    """Until a signal, or with `once` until all is sent. Raises TailError."""
    try:
        transport = Transport(settings.url, settings.key)
    except ValueError as error:
        raise TailError(str(error)) from None
    checkpoints = Checkpoints(settings.state)
    try:
        tailer = Tailer(settings, checkpoints, transport, SystemClock(), say)
        _stop_on_signals(tailer, transport)
        tailer.run()
        say(f"ended; {tailer.summary()}")
    except OSError as error:  # a disk that fails where nothing can be done about it
        raise TailError(f"{error}; started again it goes on where it stopped") from error
    finally:
        transport.close()
        checkpoints.close()


def _stop_on_signals(tailer: Tailer, transport: Transport) -> None:
    """The first lets the request that is under way end, the second does not wait for its answer."""
    asked = 0

    def stop(number: int, frame: object) -> None:
        nonlocal asked
        asked += 1
        tailer.stop()
        if asked > 1:
            transport.abort()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script `forebay`."""
    parser = argparse.ArgumentParser(prog="forebay", description="Forebay's client on the command line.")
    commands = parser.add_subparsers(dest="command", required=True)
    tail = commands.add_parser(
        "tail",
        help="follow log files and send their lines",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(tail)
    given = parser.parse_args(arguments)
    try:
        run(options_of(given, os.environ), say_on_stderr)
    except TailError as error:
        say_on_stderr(str(error))
        return 1
    return 0
