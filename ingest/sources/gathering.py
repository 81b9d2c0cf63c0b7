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
# Each connection may hold so much of a document; what is larger takes turns, or a thousand would take a gigabyte.
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
    """How many connections may hold more than LARGE_BYTES of a document that is not whole: of one owner, and of all."""

    def __init__(self, most: int, most_of_owner: int) -> None:
        self._most = most
        self._most_of_owner = most_of_owner
        self._held: Counter[str] = Counter()

    def take(self, owner: str) -> bool:
        """Whether there is room; if so, `give_back` is owed."""
        if self._held.total() >= self._most or self._held[owner] >= self._most_of_owner:
            return False
        self._held[owner] += 1
        return True

    def give_back(self, owner: str) -> None:
        """It is whole, or nobody waits for it any more."""
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]


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
        self._partial_since_s: float | None = None
        self._is_over = False
        self._broken: StreamEnded | None = None

    async def window(self) -> list[bytes]:
        """The next one; empty at the end. What arrived whole before a connection broke is given first.

        Raises StreamEnded when it broke or the peer took too long, and whatever ends the wait.
        """
        clock, pace, ready = asyncio.get_running_loop().time, self._pace, self._splitter.ready
        began_s, full_s = clock(), None
        while len(ready) < pace.window_events and ready.size_bytes < WINDOW_BYTES and not self._is_over:
            if ready and full_s is None:
                full_s = clock() + pace.window_s
            until_s = full_s if full_s is not None else self._until_s(began_s)
            try:
                left_s = None if until_s is None else max(0.0, until_s - clock())
                piece = await self._waits.within(left_s, self._read_if_room)
            except TimeoutError:
                if ready:
                    break
                raise self._too_slow() from None
            except StreamEnded as broken:
                if self._waits.ending is not None:
                    raise
                self._is_over, self._broken = True, broken
            else:
                self._feed(piece, clock())
        if not ready and self._broken is not None:
            raise self._broken
        return ready.take(pace.window_events, WINDOW_BYTES)

    def close(self) -> None:
        """No window is asked for any more."""
        self._let_others_in()

    def _let_others_in(self) -> None:
        if self._holds_large:
            self._large.give_back(self._owner)
            self._holds_large = False

    async def _read_if_room(self) -> bytes:
        is_large = self._splitter.partial_bytes > LARGE_BYTES
        if not is_large:
            self._let_others_in()
        while is_large and not self._holds_large:
            self._holds_large = self._large.take(self._owner)
            if not self._holds_large:
                await asyncio.sleep(LOOK_FOR_ROOM_S)
        return await self._read()

    def _feed(self, piece: bytes, now_s: float) -> None:
        splitter = self._splitter
        if not piece:
            self._is_over = True
            splitter.finish()
            return
        before = len(splitter.ready)
        splitter.feed(piece)
        if not splitter.partial_bytes:
            self._partial_since_s = None
        elif self._partial_since_s is None or len(splitter.ready) > before:
            self._partial_since_s = now_s

    def _until_s(self, began_s: float) -> float | None:
        """When the peer has taken too long."""
        pace = self._pace
        if self._partial_since_s is not None:
            return self._partial_since_s + pace.document_timeout_s
        return None if pace.idle_timeout_s is None else began_s + pace.idle_timeout_s

    def _too_slow(self) -> StreamEnded:
        pace = self._pace
        if self._partial_since_s is not None:
            return StreamEnded("line_timeout", f"A line was not complete after {pace.document_timeout_s:g} s")
        return StreamEnded("idle_timeout", f"Nothing came for {pace.idle_timeout_s:g} s")
