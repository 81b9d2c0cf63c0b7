"""Who asked the supervisor to stop, and how urgently: SIGINT, SIGTERM and SIGHUP as plain facts to be polled.

Handlers run in the main thread only. They set flags and wake `wait()`, so that a signal never interrupts the
supervisor between starting a child and noting that it has; only inside `interrupting()` does a signal raise.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopAsked(Exception):
    """The person or the system wants everything stopped; not an error."""


class StopSignals:
    """Context manager that owns the three signals; `asked` after the first, `impatient` after a second Ctrl-C."""

    def __init__(self) -> None:
        self.asked = False
        self.impatient = False
        self._raises = False

    def __enter__(self) -> Self:
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._previous_fd = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        signal.set_wakeup_fd(self._previous_fd)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Only Ctrl-C counts as impatience: `docker stop` and a closing terminal may send theirs more than once.
        self.impatient = self.impatient or (self.asked and number == signal.SIGINT)
        self.asked = True
        if self._raises:
            raise StopAsked

    def wait(self, timeout_s: float) -> None:
        """Sleep, but no longer than until the next signal."""
        readable, _, _ = select.select([self._wake_read], [], [], timeout_s)
        if readable:
            os.read(self._wake_read, 4096)

    def raise_if_asked(self) -> None:
        if self.asked:
            raise StopAsked

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within, a signal raises StopAsked wherever the code is: for a download or a migration, not for children."""
        self.raise_if_asked()
        self._raises = True
        try:
            yield
        finally:
            self._raises = False
