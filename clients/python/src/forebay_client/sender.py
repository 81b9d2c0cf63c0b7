"""Sends what the application hands over, from threads of its own: nothing here makes the application wait.

One thread sends: from the spool first, which is older, then from memory, one request at a time. With a spool another
one moves events to the disk while Forebay takes none, or half of the buffer is full. Both start with the first event,
so that a process may fork before. A forked child begins with nothing: what the parent holds is the parent's to send.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from typing import Callable

from forebay_client.backoff import Backoff
from forebay_client.buffer import Buffer, Event, Limits, Taken, Tracked
from forebay_client.ledger import Ledger
from forebay_client.load import Load
from forebay_client.records import Snapshot
from forebay_client.results import Counters, Result, result_of
from forebay_client.spool import Spool
from forebay_client.spooler import Spooler
from forebay_client.transport import Outcome, Transport
from forebay_client.wire import Rejection

log = logging.getLogger("forebay_client")

OnRejected = Callable[[bytes, Rejection], None]
_AFTER_A_DEFECT_S = 1.0


class Sender:
    """`on_rejected` hears of each event without a callback that Forebay refused; it is called by the sending thread."""

    def __init__(
        self,
        connect: Callable[[], Transport],
        limits: Limits,
        encode: Callable[[Snapshot], bytes],
        *,
        delivery: str = "",
        spool: Spool | None = None,
        on_rejected: OnRejected | None = None,
    ) -> None:
        self.limits, self._encode = limits, encode
        self._connect, self._delivery, self._on_rejected = connect, delivery, on_rejected
        self._begin(spool)
        _senders.add(self)

    def _begin(self, spool: Spool | None) -> None:
        """With nothing, at the start and in a forked child."""
        self._buffer = Buffer(self.limits, self._encode, self._refuse, self._start)
        # The buffer's own: a call in between is a tenth of what a log call costs beyond logging itself.
        self.put = self._buffer.put
        """Never waits for the network or the disk. Whether the event was taken; if not, it is counted as dropped."""
        self._ledger = Ledger(self._buffer)
        self._failure = ""
        self._spooler = (
            None if spool is None else Spooler(spool, self._buffer, self._ledger, lambda: bool(self._failure))
        )
        self._transport = self._connect()
        self._backoff = Backoff()
        self._in_hand: deque[Load] = deque()
        self._not_before_s = 0.0
        self._deadline_s: float | None = None
        self._hurrying = 0
        self._is_tracked_next = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    # --- what the application calls

    def unencodable(self) -> None:
        """Counts an event that did not even become bytes."""
        self._ledger.turned_away("unencodable")

    def _refuse(self, event: Event, reason: str) -> None:
        self._ledger.turned_away(reason)
        self._tell_all([event], "Dropped", reason)

    def flush(self, timeout_s: float) -> bool:
        """Whether all that was put before is answered or given up, and the spool is empty, within the time.

        Once the sender is closed the spool is the next process's: nobody waits for it any longer.
        """
        buffer = self._buffer
        with buffer.changed:
            mark = buffer.mark()
            self._hurrying += 1
            buffer.changed.notify_all()
            try:
                is_settled = buffer.changed.wait_for(
                    lambda: buffer.has_settled(mark) and (buffer.is_closed or not self._spool_events()), timeout_s
                )
                return is_settled and not self._spool_events()
            finally:
                self._hurrying -= 1

    def close(self, timeout_s: float) -> None:
        """Sends what is left within the time; the rest goes to the spool, or is dropped and counted."""
        with self._buffer.changed:
            if self._deadline_s is not None:
                return
            self._deadline_s = time.monotonic() + timeout_s
            self._buffer.is_closed = True
            self._buffer.changed.notify_all()
            thread = self._thread
        if thread is None and self._buffer.events:
            self._run()  # at the interpreter's end no thread can be started
        elif thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
            self._end()
            self._transport.abort()

    def counters(self) -> Counters:
        return self._ledger.snapshot(self._spooler.spool if self._spooler else None)

    def forked(self) -> None:
        """In a forked child, before anything else runs there."""
        self._transport.forked()
        self._begin(self._spooler.spool.forked() if self._spooler else None)

    # --- the sending thread

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # another thread does it, or this one did when a destructor logged
        thread = threading.Thread(target=self._run, name="forebay-sender", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be had now, perhaps the interpreter is ending: then close() sends it
            self._starting.release()
            return
        self._thread, self._buffer.is_served = thread, True
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:
            # A process of multiprocessing ends without atexit, but runs its own finalizers.
            sys.modules["multiprocessing.util"].Finalize(None, _close_at_exit, args=(self,), exitpriority=100)

    def _run(self) -> None:
        if self._spooler is not None:
            self._spooler.start()
        while True:
            try:
                load = self._next()
                if load is None:
                    break
                self._send(load)
            except Exception:  # a defect of ours must not end the thread and strand what it holds
                log.exception("the sender failed; it goes on")
                self._not_before_s = time.monotonic() + _AFTER_A_DEFECT_S
        self._end()
        self._transport.close()

    def _next(self) -> Load | None:
        """Waits until there is something to send and the server may be asked; None at the end."""
        while self._wait_until_due():
            # Read without holding `changed`: the application never waits for the disk.
            stored = self._spooler.read() if self._spooler is not None and not self._in_hand else None
            with self._buffer.changed:
                if stored is not None:
                    self._in_hand.append(Load(stored.events, stored))
                if not self._in_hand:
                    self._take_from_memory()
                if self._in_hand:
                    return self._in_hand[0]
        return None

    def _wait_until_due(self) -> bool:
        with self._buffer.changed:
            while True:
                now_s, deadline_s = time.monotonic(), self._deadline_s
                if deadline_s is not None and max(now_s, self._not_before_s) >= deadline_s:
                    return False
                wait_s: float | None = self._not_before_s - now_s
                if self._not_before_s <= now_s:
                    wait_s = self._filled_in_s()
                    if wait_s == 0:
                        return True
                    if wait_s is None and deadline_s is not None:
                        return False
                self._buffer.changed.wait(wait_s)

    def _filled_in_s(self) -> float | None:
        """Holding `changed`: when the next batch may leave; None when there is nothing."""
        if self._in_hand:
            return 0
        stored_s = self._spooler.readable_in_s() if self._spooler is not None else None
        ready_s = self._buffer.ready_in_s()
        if ready_s is not None and (self._hurrying or self._deadline_s is not None):
            ready_s = 0
        return min((wait_s for wait_s in (stored_s, ready_s) if wait_s is not None), default=None)

    def _spool_events(self) -> int:
        return self._spooler.spool.events if self._spooler is not None else 0

    def _take_from_memory(self) -> None:
        """Holding `changed`. By turns, so that neither kind of event waits for ever behind the other."""
        queues = self._buffer.plain, self._buffer.tracked
        events = self._buffer.take(queues[self._is_tracked_next] or queues[not self._is_tracked_next])
        if events:
            self._in_hand.append(load := Load(events))
            self._is_tracked_next = not load.is_tracked

    def _send(self, load: Load) -> None:
        if load.in_memory is not None:
            self._buffer.encode(load.in_memory)
            if not load.events:
                with self._buffer.changed:
                    self._let_go(load)
                return
        outcome = self._transport.send(load.events, delivery="ack" if load.is_tracked else self._delivery)
        self._ledger.count(requests=1, retries=int(bool(self._failure)))
        if outcome.retry_after_s is not None:
            self._wait_for_the_server(load, outcome)
            return
        self._backoff.reset()
        self._note(None)
        if outcome.is_to_be_split:
            with self._buffer.changed:
                if self._let_go(load):
                    self._in_hand.extendleft(reversed(load.halves()))
        else:
            self._settle(load, outcome)

    def _wait_for_the_server(self, load: Load, outcome: Outcome) -> None:
        self._not_before_s = time.monotonic() + self._backoff.wait_s(outcome.retry_after_s or 0.0)
        self._note(outcome)
        events = load.in_memory
        if self._spooler is None or events is None or load.is_tracked:
            return
        with self._buffer.changed:
            is_ours = self._let_go(load)
        if is_ours and not self._spooler.store(events):
            with self._buffer.changed:
                self._in_hand.appendleft(load)

    def _settle(self, load: Load, outcome: Outcome) -> None:
        with self._buffer.changed:
            if not self._let_go(load):
                return
        # First: when flush() returns, whoever waits for a result has it.
        self._tell_results(load, outcome)
        with self._buffer.changed:
            self._ledger.answered(outcome)
            if load.in_memory is not None:
                self._buffer.settle(load.in_memory)
        if load.stored is not None and self._spooler is not None:
            self._spooler.answered(load.stored)

    def _let_go(self, load: Load) -> bool:
        """Holding `changed`: whether it was still ours; close() may have given it up meanwhile."""
        if self._in_hand and self._in_hand[0] is load:
            self._in_hand.popleft()
            return True
        return False

    def _note(self, failure: Outcome | None) -> None:
        """Says each failure once, until another one or none takes its place."""
        before, now = self._failure, "" if failure is None else failure.code or f"http_{failure.status}"
        if before == now:
            return
        with self._buffer.changed:
            self._failure = now
            self._buffer.changed.notify_all()
        if failure is None:
            log.info("Forebay takes events again")
        else:
            log.warning("Forebay does not take events now, they are kept: %s %s", failure.code, failure.detail)

    def _end(self) -> None:
        """What is left is spooled or dropped, by the sending thread or by close(): whoever comes first."""
        if self._spooler is not None:
            self._spooler.join()
        with self._buffer.changed:
            in_hand = [load.in_memory for load in self._in_hand if load.in_memory is not None]
            left = in_hand + self._buffer.take_all()
            self._in_hand.clear()
        for events in left:
            self._give_up(events)
        if self._spooler is not None:
            self._spooler.spool.close()

    def _give_up(self, events: Taken) -> None:
        self._buffer.encode(events)
        if not events:
            return
        if self._spooler is not None and self._spooler.store(events):
            self._tell_all(events, "Spooled")
            return
        with self._buffer.changed:
            self._ledger.dropped("closed", len(events))
            self._buffer.settle(events)
        self._tell_all(events, "Dropped", "closed")

    # --- telling

    def _tell_results(self, load: Load, outcome: Outcome) -> None:
        for index, event in enumerate(load.events if load.is_tracked else ()):
            if isinstance(event, Tracked):
                self._call(event.callback, result_of(event.event_id, index, outcome))
        if self._on_rejected is not None and not load.is_tracked:
            for index, rejection in outcome.rejected.items():
                self._call(self._on_rejected, load.events[index], rejection)

    def _tell_all(self, events: list[Event], status: str, code: str = "") -> None:
        for event in events:
            if isinstance(event, Tracked):
                self._call(event.callback, Result(event.event_id, status, code=code))

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            callback(*arguments)
        except Exception:  # it is the application's, and must not stop the sending
            log.exception("a callback of the application failed")
            self._ledger.count(callback_errors=1)


_senders: weakref.WeakSet[Sender] = weakref.WeakSet()


def _close_at_exit(sender: Sender) -> None:
    sender.close(sender.limits.exit_timeout_s)


def close_all() -> None:
    """Every sender of this process, as at its exit: for processes that end without running exit functions."""
    for sender in list(_senders):
        _close_at_exit(sender)


def _begin_again_in_child() -> None:
    for sender in list(_senders):
        sender.forked()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again_in_child)
