"""Between memory and the disk: moves events to the spool while they cannot be sent, and brings them back in order.

A thread of its own writes, so that neither the application nor a request under way waits for the disk. The disk may
fail at any time: it is counted, and events stay in memory, within its bound.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable

from forebay_client.buffer import Buffer, Taken
from forebay_client.ledger import Ledger
from forebay_client.spool import Batch, Spool

log = logging.getLogger("forebay_client")

_AFTER_AN_ERROR_S = 1.0


class Spooler:
    """`is_failing` says whether the server takes nothing at present; whoever changes that notifies `changed`."""

    def __init__(self, disk: Spool, buffer: Buffer, ledger: Ledger, is_failing: Callable[[], bool]) -> None:
        self.spool = disk
        self._buffer, self._ledger, self._is_failing = buffer, ledger, is_failing
        self._not_before_s = 0.0
        self._thread = threading.Thread(target=self._spill_for_ever, name="forebay-spooler", daemon=True)

    def start(self) -> None:
        """Takes over what dead processes left, and begins to watch the buffer."""
        try:
            self._ledger.count(recovered=self.spool.recover())
        except OSError as error:
            self._failed("read", error)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending: the sender stores what is left itself
            pass

    def store(self, events: Taken) -> bool:
        """Whether the events are on the disk now, and no longer in memory."""
        try:
            if not self.spool.append(events):
                return False
        except OSError as error:
            self._failed("written", error)
            return False
        with self._buffer.changed:
            self._ledger.count(spooled=len(events))
            self._buffer.settle(events)
        return True

    def readable_in_s(self) -> float | None:
        """When the oldest that is there may be read; None when there is nothing."""
        return max(0.0, self._not_before_s - time.monotonic()) if self.spool.events else None

    def read(self) -> Batch | None:
        """The oldest that is there; None if there is nothing or it cannot be read now, which is counted."""
        limits = self._buffer.limits
        if self.readable_in_s() != 0:
            return None
        try:
            return self.spool.read(limits.batch_max_events, limits.batch_max_bytes)
        except FileNotFoundError as error:  # somebody removed it
            self._failed("read", error)
            lost = self.spool.forget_first()
            with self._buffer.changed:
                self._ledger.dropped("spool_lost", lost)
                self._buffer.changed.notify_all()
        except OSError as error:  # no descriptor or no memory is left, or the disk fails: all of that may pass
            self._failed("read", error)
            self._not_before_s = time.monotonic() + _AFTER_AN_ERROR_S
        return None

    def answered(self, batch: Batch) -> None:
        try:
            self.spool.answered(batch)
        except OSError as error:  # after a restart they are sent again
            self._failed("written", error)
        with self._buffer.changed:
            self._buffer.changed.notify_all()

    def join(self) -> None:
        """After the buffer is closed: what it had in its hands is on the disk or back in the buffer."""
        if self._thread.is_alive():
            self._thread.join(_AFTER_AN_ERROR_S)

    def _spill_for_ever(self) -> None:
        buffer = self._buffer
        while True:
            with buffer.changed:
                buffer.changed.wait_for(lambda: buffer.is_closed or self._is_to_spill())
                if not buffer.is_half_full:  # others join them, so that a write is worth it
                    buffer.changed.wait(buffer.limits.linger_s)
                if buffer.is_closed:
                    return
                events = buffer.take(buffer.plain) if self._is_to_spill() else None
            if not events:
                continue
            buffer.encode(events)
            if events and not self.store(events):
                with buffer.changed:
                    buffer.put_back(events)
                    buffer.changed.wait_for(lambda: buffer.is_closed, _AFTER_AN_ERROR_S)

    def _is_to_spill(self) -> bool:
        return bool(self._buffer.plain) and (self._is_failing() or self._buffer.is_half_full)

    def _failed(self, what: str, error: OSError) -> None:
        log.warning("the spool cannot be %s: %s", what, error)
        self._ledger.count(spool_errors=1)
