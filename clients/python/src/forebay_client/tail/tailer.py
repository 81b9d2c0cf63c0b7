"""The loop of `forebay tail`: look for files, read, send, remember. One thread, one batch in memory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Callable, Protocol

from forebay_client.tail.checkpoints import Checkpoints
from forebay_client.tail.delivery import Delivered, Delivery, Sender, Stopped
from forebay_client.tail.discovery import Discovery
from forebay_client.tail.failures import TailError
from forebay_client.tail.options import Options
from forebay_client.tail.reader import FileReader

_REJECTIONS_SHOWN = 20
_SAVE_AGAIN_S = 1.0


class Clock(Protocol):
    """Time, handed in."""

    def now_s(self) -> float:
        """Monotonic."""

    def sleep(self, seconds: float) -> None: ...


@dataclass
class Counts:
    """Since the start. `read_bytes` is text, unfolded where it is compressed."""

    read_bytes: int = 0
    accepted_events: int = 0
    rejected_events: int = 0


@dataclass
class Batch:
    """Events, and up to where each file is accepted with them."""

    events: list[bytes] = field(default_factory=list)
    events_bytes: int = 0
    resumes: dict[str, tuple[FileReader, int]] = field(default_factory=dict)


class Tailer:
    """`run` until `stop` is called; with `options.once` until all that is there is accepted. `say` tells people."""

    def __init__(
        self, options: Options, checkpoints: Checkpoints, sender: Sender, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self.counts = Counts()
        self.discovery = Discovery(options, checkpoints, say)
        self.delivery = Delivery(sender, self._wait, say)
        self._options, self._checkpoints, self._clock, self._say = options, checkpoints, clock, say
        self._is_stopping = False
        self._scan_at_s = self._report_at_s = float("-inf")
        self._save_at_s = clock.now_s() + options.checkpoint_s
        self._is_unsaved = self._has_said_unsaved = False
        self._first = 0

    def stop(self) -> None:
        """From a signal too: the request that is under way is finished first."""
        self._is_stopping = True

    def run(self) -> None:
        """Returns when all that was accepted is remembered. Raises TailError."""
        self._report_at_s = self._clock.now_s() + self._options.report_s
        try:
            while not self._is_stopping:
                if not self.turn() and self._rests():
                    break
        except Stopped:
            pass
        finally:
            self._save()
            self.discovery.close_all()

    def turn(self) -> bool:
        """One batch; whether there was one."""
        self._scan_if_due()
        batch = self._next_batch()
        if batch.events:
            self._deliver(batch)
        for reader, resume in batch.resumes.values():
            reader.accept(resume)
            self._is_unsaved = True
        self._end_what_is_over()
        self._save_if_due()
        self._report_if_due()
        return bool(batch.resumes)

    def _rests(self) -> bool:
        """Nothing to do at present; whether there never will be."""
        if self._options.once and not self.discovery.readers and not self.discovery.is_short_of_room:
            return True
        if not any(reader.has_lines for reader in self.discovery.readers):
            self._clock.sleep(self._options.poll_s)
        return False

    def _scan_if_due(self) -> None:
        now_s = self._clock.now_s()
        if now_s >= self._scan_at_s:
            self._scan_at_s = now_s + self._options.rescan_s
            self.discovery.scan(now_s)
        else:
            self.discovery.decide(now_s)

    def _next_batch(self) -> Batch:
        """A chunk of each file in turn, round after round, until it is full or nothing is left."""
        batch = Batch()
        while not self._is_full(batch) and self._add_round(batch):
            pass
        return batch

    def _add_round(self, batch: Batch) -> bool:
        readers = self._turn_of()
        has_read = False
        for count, reader in enumerate(readers, 1):
            has_read |= self._add(batch, reader)
            if self._is_full(batch):
                self._first += count
                break
        return has_read

    def _turn_of(self) -> list[FileReader]:
        """Each file once, another one first each time. A file's successor waits until it is read to its end, unless
        that cannot be read."""
        free, busy = [], set()
        for reader in self.discovery.readers:
            path = reader.origin.path
            if path not in busy:
                free.append(reader)
            if reader.has_lines or not (reader.is_at_end or reader.is_failing):
                busy.add(path)
        first = self._first % max(1, len(free))
        return free[first:] + free[:first]

    def _add(self, batch: Batch, reader: FileReader) -> bool:
        if not reader.has_lines and not self._read(reader):
            return False
        while reader.has_lines and not self._is_full(batch):
            room_events = self._batch_events() - len(batch.events)
            lines, resume = reader.take(room_events, self._options.batch_bytes - batch.events_bytes)
            events = reader.encoder.encode(lines, reader.origin)
            batch.events += events
            batch.events_bytes += sum(map(len, events))
            batch.resumes[reader.state.file_id] = (reader, resume)
        return True

    def _read(self, reader: FileReader) -> bool:
        """One chunk; whether there was one."""
        before = reader.position
        reader.is_failing = False
        try:
            has_read = reader.read(self._clock.now_s())
            if not has_read:
                self.discovery.check(reader)
        except OSError as error:
            self.discovery.tell_failure(reader.path_now, error)
            reader.is_failing = True
            return False
        self.counts.read_bytes += reader.position - before
        return has_read

    def _is_full(self, batch: Batch) -> bool:
        return len(batch.events) >= self._batch_events() or batch.events_bytes >= self._options.batch_bytes

    def _batch_events(self) -> int:
        return min(self._options.batch_events, self.delivery.max_events or self._options.batch_events)

    def _deliver(self, batch: Batch) -> None:
        while self._checkpoints.is_urgent and not self._save():
            if not self._wait(_SAVE_AGAIN_S):
                raise Stopped
        delivered = self.delivery.deliver(batch.events)
        self.counts.accepted_events += delivered.accepted
        if delivered.rejected:
            self._tell_rejected(batch, delivered)

    def _tell_rejected(self, batch: Batch, delivered: Delivered) -> None:
        """Where each line is, and why; kept whole if there is a file for it."""
        told = []
        for index, (code, detail) in sorted(delivered.rejected.items()):
            event = json.loads(batch.events[index])
            told.append({"code": code, "detail": detail, "event": event})
            self.counts.rejected_events += 1
            if self.counts.rejected_events <= _REJECTIONS_SHOWN:
                at = event["metadata"]
                self._say(f"{at['path']}: the line at byte {at['offset']} was rejected: {code}, {detail}")
            elif self.counts.rejected_events == _REJECTIONS_SHOWN + 1:
                self._say("further rejected lines are only counted; --rejected-file keeps them")
        if self._options.rejected_file is not None:
            _append(self._options.rejected_file, told)

    def _wait(self, seconds: float) -> bool:
        """Sleeps, and goes on looking for files, for one that is deleted meanwhile must be open by then. Whether to
        go on."""
        until_s = self._clock.now_s() + seconds
        while not self._is_stopping and (rest_s := until_s - self._clock.now_s()) > 0:
            self._clock.sleep(min(rest_s, self._options.poll_s))
            self._scan_if_due()
            self._report_if_due()
        return not self._is_stopping

    def _end_what_is_over(self) -> None:
        """All lines that were taken are accepted here."""
        now_s = self._clock.now_s()
        for reader in list(self.discovery.readers):
            if reader.has_lines or not (reader.is_at_end or reader.is_finished):
                continue
            if not reader.is_finished and self._is_over(reader, now_s):
                reader.finish()
                self._note_cut(reader)
            elif not reader.is_finished and reader.has_waited(now_s):
                reader.end_group()
                self._note_cut(reader)
            if reader.is_finished and not reader.has_lines:
                self.discovery.close(reader)
                self._is_unsaved = True

    def _is_over(self, reader: FileReader, now_s: float) -> bool:
        """Nothing more will come: a whole gzip file; one that nobody has written to since its name went."""
        content = reader.content
        try:
            if content is not None and content.is_over(reader.position):
                if content.damage:
                    self._say(f"{reader.path_now}: damaged after {reader.position} bytes ({content.damage})")
                return True
        except OSError as error:
            self.discovery.tell_failure(reader.path_now, error)
        is_idle = now_s - reader.changed_s >= self._options.close_after_s
        return self._options.once or ((reader.is_gone or content is None) and is_idle)

    def _note_cut(self, reader: FileReader) -> None:
        """Where time has ended an event must be known before it is sent, to end it there when it is read again."""
        self._checkpoints.is_urgent |= reader.has_lines

    def _save_if_due(self) -> None:
        if self._is_unsaved and self._clock.now_s() >= self._save_at_s:
            self._save()

    def _save(self) -> bool:
        """Whether it is on the disk. If not it is said once and tried again: at worst lines are sent again."""
        self._save_at_s = self._clock.now_s() + self._options.checkpoint_s
        try:
            self._checkpoints.save(self._options.wall_s())
        except TailError as error:
            if not self._has_said_unsaved:
                self._say(str(error))
            self._has_said_unsaved = True
            return False
        self._is_unsaved = self._has_said_unsaved = False
        return True

    def _report_if_due(self) -> None:
        now_s = self._clock.now_s()
        if now_s >= self._report_at_s:
            self._report_at_s = now_s + self._options.report_s
            self._say(self.summary())

    def summary(self) -> str:
        """One line for people."""
        counts, readers = self.counts, self.discovery.readers
        behind = [reader for reader in readers if reader.has_lines or not reader.is_at_end]
        return (
            f"{len(readers)} files open, {len(behind)} behind; {counts.read_bytes / 1e6:,.1f} MB read,"
            f" {counts.accepted_events:,} events accepted, {counts.rejected_events:,} rejected"
        )


def _append(path: os.PathLike[str], entries: list[dict[str, Any]]) -> None:
    """On the disk before the lines count as done."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TailError(f"cannot write rejected events to {path}: {error.strerror}") from error
