"""Waits that somebody else may cut short: a connection that is drained, taken over, or whose key was revoked.

Sources; the loop's thread alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ingest.dataplane.errors import StreamEnded

T = TypeVar("T")


class Interruptible:
    """Something that serves one peer. `ending` says why it is to end, once it is."""

    def __init__(self) -> None:
        self.ending: StreamEnded | None = None
        self._timeout: asyncio.Timeout | None = None

    def end(self, why: StreamEnded) -> None:
        """Its present or next wait raises the like of this. The first reason stays."""
        self.ending = self.ending or why
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def recheck(self) -> None:
        """With each new snapshot, and each second: whoever lives on what is no longer allowed, ends."""

    async def within(self, timeout_s: float | None, wait: Callable[[], Awaitable[T]]) -> T:
        """What is awaited, unless it takes too long. Raises TimeoutError, and the ending."""
        self._check()
        try:
            async with asyncio.timeout(timeout_s) as self._timeout:
                return await wait()
        except TimeoutError:
            self._check()
            raise
        finally:
            self._timeout = None

    async def pause(self, pause_s: float) -> None:
        """Let time pass. Raises the ending."""
        try:
            await self.within(pause_s, asyncio.Event().wait)
        except TimeoutError:
            pass  # it has passed

    def _check(self) -> None:
        if self.ending is not None:
            # One of its own: what is raised grows by a traceback each time, and many may end for one reason.
            raise StreamEnded(self.ending.code, self.ending.detail) from None
