"""What a connection sends, as windows: so many documents, so many bytes, or what has come in a short while.

Sources; the loop's thread. One reader a connection, whatever its protocol: the splitter knows where a document ends.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from ingest.dataplane.errors import StreamEnded
from ingest.protocols.ready import Ready
from ingest.sources.interruptible import Interruptible

WINDOW_BYTES: Final = 256 * 1024
# Each connection may hold so much; who holds more takes one of a few places, or a thousand would take a gigabyte.
LARGE_BYTES: Final = 64 * 1024
LARGE_DOCUMENTS: Final = 64
LOOK_FOR_ROOM_S: Final = 0.05


class Splitter(Protocol):
    """Bytes to documents."""

    ready: Ready

    @property
    def partial_bytes(self) -> int: ...
    def feed(self, piece: bytes) -> None: ...
    def finish(self) -> object: ...


class Pace(NamedTuple):
    """How windows are cut, and how long a peer may take. `idle_timeout_s` None: for ever."""

    window_events: int
    window_s: float
    document_timeout_s: float
    idle_timeout_s: float | None


class LargeDocuments:
    """How many connections may hold more than LARGE_BYTES: of one owner, and of all.

    An owner that has no place gets one even where the others have them all: they may keep theirs for hours, while
    they wait for a quota of their own.
    """

    def __init__(self, most: int, most_of_owner: int) -> None:
        self._most = most
        self._most_of_owner = most_of_owner
        self._held: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()

    def take(self, owner: str, *, gives_way: bool = False) -> bool:
        """Whether there is room; if so, `give_back` is owed. Who gives way takes none while one of the owner waits."""
        held = self._held[owner]
        if held >= self._most_of_owner or (held and self._held.total() >= self._most):
            return False
        if gives_way and self._waiting[owner]:
            return False
        self._held[owner] += 1
        return True

    def give_back(self, owner: str) -> None:
        """It holds little again, or is gone."""
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]

    async def wait(self, owner: str) -> None:
        """Until there is room, and it is taken."""
        self._waiting[owner] += 1
        try:
            while not self.take(owner):
                await asyncio.sleep(LOOK_FOR_ROOM_S)
        finally:
            self._waiting[owner] -= 1
            if not self._waiting[owner]:
                del self._waiting[owner]


class Gathering:
    """The windows of one connection. `read` returns b"" at the end and raises StreamEnded where it breaks."""

    def __init__(
        self,
        waits: Interruptible,
        read: Callable[[], Awaitable[bytes]],
        splitter: Splitter,
        pace: Pace,
        large: LargeDocuments,
        owner: str,
    ) -> None:
        self._waits = waits
        self._read = read
        self._splitter = splitter
        self._pace = pace
        self._large = large
        self._owner = owner
        self._holds_large = False
        # Spent on reading alone: a peer cannot help it when we do not read.
        self._document_s = 0.0
        self._window_s = 0.0
        self._is_over = False
        self._broken: StreamEnded | None = None

    async def window(self) -> list[bytes]:
        """The next one; empty at the end. What arrived whole before a connection broke is given first.

        Raises StreamEnded when it broke or the peer took too long, and whatever ends the wait.
        """
        clock, pace, ready = asyncio.get_running_loop().time, self._pace, self._splitter.ready
        until_s: float | None = None
        self._window_s = 0.0
        self._let_others_in()  # the window before is dealt with
        while len(ready) < pace.window_events and ready.size_bytes < WINDOW_BYTES and not self._is_over:
            if ready and until_s is None:
                until_s = clock() + pace.window_s
            try:
                if not self._has_room():
                    if ready:
                        break
                    await self._waits.within(None, self._wait_for_room)
                await self._read_more(self._left_s() if until_s is None else max(0.0, until_s - clock()))
            except TimeoutError:
                if ready:
                    break
                raise self._too_slow() from None
            except StreamEnded as broken:
                if self._waits.ending is not None:
                    raise
                self._is_over, self._broken = True, broken
        if not ready and self._broken is not None:
            raise self._broken
        return ready.take(pace.window_events, WINDOW_BYTES)

    def close(self) -> None:
        """No window is asked for any more."""
        if self._holds_large:
            self._large.give_back(self._owner)
            self._holds_large = False

    @property
    def _held_bytes(self) -> int:
        return self._splitter.partial_bytes + self._splitter.ready.size_bytes

    def _let_others_in(self) -> None:
        if self._held_bytes <= LARGE_BYTES:
            self.close()

    def _has_room(self) -> bool:
        """A window that may not grow is cut; what is not whole yet can only wait."""
        if self._held_bytes > LARGE_BYTES and not self._holds_large:
            self._holds_large = self._large.take(self._owner, gives_way=bool(self._splitter.ready))
            return self._holds_large
        return True

    async def _wait_for_room(self) -> None:
        await self._large.wait(self._owner)
        self._holds_large = True

    async def _read_more(self, most_s: float | None) -> None:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        try:
            piece = await self._waits.within(most_s, self._read)
        finally:
            spent_s = clock() - began_s
            self._document_s += spent_s
            self._window_s += spent_s
        self._feed(piece)

    def _feed(self, piece: bytes) -> None:
        splitter = self._splitter
        if not piece:
            self._is_over = True
            splitter.finish()
            return
        was_partial, before = splitter.partial_bytes > 0, len(splitter.ready)
        splitter.feed(piece)
        if not was_partial or len(splitter.ready) > before:
            self._document_s = 0.0

    def _left_s(self) -> float | None:
        """Until the peer has taken too long."""
        pace = self._pace
        if self._splitter.partial_bytes:
            return max(0.0, pace.document_timeout_s - self._document_s)
        return None if pace.idle_timeout_s is None else max(0.0, pace.idle_timeout_s - self._window_s)

    def _too_slow(self) -> StreamEnded:
        pace = self._pace
        if self._splitter.partial_bytes:
            return StreamEnded("line_timeout", f"A line was not complete after {pace.document_timeout_s:g} s")
        return StreamEnded("idle_timeout", f"Nothing came for {pace.idle_timeout_s:g} s")
