"""`manage.py journal`: what waits in the journals of this node, and what to do about it. Control plane; one thread."""

import json
import signal
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ingest import journals
from ingest.dataplane.errors import Unavailable
from ingest.dataplane.journal_lock import LOCK_NAME, is_held
from ingest.journals import CannotRequeue, JournalView
from ingest.worker import worker

SAY_EVERY_S = 2.0


class Command(BaseCommand):
    help = (
        "Look into the journals under FOREBAY_JOURNAL_DIR (list, show), deliver what dead workers left where no node"
        " runs (drain), or put the events of a file that was set aside, or saved from a lost node, in line again"
        " (requeue)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        listing = commands.add_parser("list", help="Every journal: who holds it, what waits in it, files set aside.")
        listing.add_argument("--json", action="store_true", help="One JSON object a line.")
        show = commands.add_parser("show", help="The events that wait in one journal, oldest first.")
        show.add_argument("journal", help="Its name, or the first letters of it.")
        show.add_argument("--tenant", help="Only this tenant's.")
        show.add_argument("--topic", help="Only those for this topic.")
        show.add_argument("--max", type=int, default=100, metavar="N", help="At most so many. Default: %(default)s.")
        drain = commands.add_parser("drain", help="Deliver what no living worker holds, as a worker would; then end.")
        drain.add_argument("--timeout", type=float, default=300.0, metavar="S", help="Default: %(default)g.")
        requeue = commands.add_parser("requeue", help="Put all events that can be read in a file in line again.")
        requeue.add_argument("file", type=Path, help="A .damaged file, or a segment from elsewhere.")

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            getattr(self, f"_{options['command']}")(options)
        except KeyboardInterrupt:
            raise CommandError("stopped; what waits stays in its journal") from None

    def _list(self, options: dict[str, Any]) -> None:
        found = [journals.look(path, _segment_bytes()) for path in journals.directories(_root())]
        if options["json"]:
            for view in found:
                self.stdout.write(json.dumps(_as_dict(view)))
            return
        if not found:
            self.stdout.write(f"No journal in {_root()}: no worker has been started here, or all is delivered.")
        for view in found:
            self._describe(view)

    def _describe(self, view: JournalView) -> None:
        held = "held by a worker" if view.is_held else "nobody's: the next worker takes it over, or `journal drain`"
        age = f", the oldest {time.time() - view.oldest_wall_ms / 1000:,.0f} s old" if view.oldest_wall_ms else ""
        self.stdout.write(f"{view.name}  {held}")
        self.stdout.write(
            f"  {view.unsettled:,} events wait{age}; {view.segments} segments, {view.used_bytes / 1e6:,.1f} MB"
        )
        for tenant, events in view.events.most_common():
            self.stdout.write(f"    {tenant}: {events:,} events, {view.live_bytes[tenant] / 1e6:,.1f} MB")
        for path in view.set_aside:
            self.stdout.write(f"  set aside, for part of it could not be read: {path}")

    def _show(self, options: dict[str, Any]) -> None:
        matching = [path for path in journals.directories(_root()) if path.name.startswith(options["journal"])]
        if len(matching) != 1:
            raise CommandError(f"{len(matching)} journals begin with {options['journal']}; see `journal list`.")
        shown = 0
        for event in journals.waiting(matching[0], _segment_bytes()):
            topic, partition, key, value, rule = event.record
            if options["tenant"] not in (None, event.tenant) or options["topic"] not in (None, topic):
                continue
            if shown == options["max"]:
                self.stderr.write(f"There is more; these are the oldest {shown}.")
                return
            shown += 1
            row = {
                "sequence": event.sequence,
                "tenant": event.tenant,
                "topic": topic,
                "partition": partition,
                "key": key.decode(errors="replace"),
                "rule": rule,
                "accepted_wall_ms": event.accepted_wall_ms,
                "value": value.decode(errors="replace"),
            }
            self.stdout.write(json.dumps(row, ensure_ascii=False))

    def _drain(self, options: dict[str, Any]) -> None:
        """A worker without a web server: it adopts, produces, settles, and tells the ledger."""
        try:
            node = worker()
        except Unavailable as error:
            raise CommandError(error.detail) from error
        give_up_s, say_s = time.monotonic() + options["timeout"], 0.0
        try:
            while left := self._left(node):
                if time.monotonic() > give_up_s:
                    raise CommandError(f"{left} after {options['timeout']:g} s; it stays in the journals.")
                if time.monotonic() >= say_s:
                    say_s = time.monotonic() + SAY_EVERY_S
                    self.stderr.write(left)
                time.sleep(0.1)
        finally:
            node.close()
        self.stdout.write("Nothing waits any more that no living worker holds.")

    def _left(self, node: Any) -> str:
        """What there is still to do, in words, and what it waits for; empty when there is nothing."""
        drain = node.engine.drain
        # In this order: a journal is nobody's at first, then it is being opened, then it is the drain's.
        unheld = sum((path / LOCK_NAME).exists() and not is_held(path) for path in journals.directories(_root()))
        is_opening = drain.is_adopting
        waiting = sum(journal.unsettled for journal in tuple(drain.adopted))
        if not (unheld or is_opening or waiting):
            return ""
        opening = ", others are being opened" if is_opening else ""
        return f"{waiting:,} events wait in {len(drain.adopted)} journals, {unheld} not opened{opening}{_cause(node)}"

    def _requeue(self, options: dict[str, Any]) -> None:
        try:
            name, events = journals.requeue(options["file"], _root(), segment_bytes=_segment_bytes())
        except (CannotRequeue, OSError) as error:
            raise CommandError(str(error)) from error
        except Unavailable as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{events:,} events are in line again, in journal {name}; a worker takes it over in seconds.")


def _cause(node: Any) -> str:
    """Why they may go on waiting, as far as it is known here."""
    if node.snapshot is None:
        return "; there is no snapshot: is `manage.py snapshot` running, or its file there?"
    flows = node.engine.flows
    behind = tuple(flows.behind.values())
    unknown = sorted({flow.topic for flow in behind} - node.topics.keys())
    parked = sum(flow.parked is not None for flow in behind)
    causes = [f"the snapshot does not know {', '.join(unknown[:5])}"] if unknown else []
    if parked:
        causes.append(f"{parked} parked: see `topic parked`")
    if not flows.cluster.allows_direct:
        causes.append(f"the cluster's breaker is {flows.cluster.state}")
    return "".join(f"; {cause}" for cause in causes)


def _root() -> Path:
    return Path(settings.FOREBAY_JOURNAL_DIR)


def _segment_bytes() -> int:
    return int(settings.FOREBAY_JOURNAL_SEGMENT_BYTES)


def _as_dict(view: JournalView) -> dict[str, Any]:
    return {
        "journal": view.name,
        "is_held": view.is_held,
        "segments": view.segments,
        "used_bytes": view.used_bytes,
        "unsettled_events": view.unsettled,
        "events": dict(view.events),
        "live_bytes": dict(view.live_bytes),
        "oldest_wall_ms": view.oldest_wall_ms,
        "set_aside": view.set_aside,
    }
