"""How many connections a process holds, whose they are, and the word that ends them all.

Sources; the loop's thread alone. One tenant holds at most half, so that nobody's connections are everybody's. Those
that have not said whose they are hold a quarter together, and one address half of that.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.dataplane import metrics
from ingest.dataplane.errors import StreamEnded, Unavailable
from ingest.sources.interruptible import Interruptible


class Connections:
    """Those whose owner is known; `kind` is `stream`, `tail` or `syslog`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Interruptible, None] = {}
        self._by_owner: Counter[str] = Counter()
        self._unclaimed: dict[Interruptible, str] = {}
        self._arriving: set[Interruptible] = set()
        self._ending: StreamEnded | None = None

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Interruptible]:
        return iter(tuple(self._held))

    @contextmanager
    def holding(self, session: Interruptible, owner: str, kind: str, *, claimed: bool = True) -> Iterator[None]:
        """One connection, for as long as the block lasts. Raises Unavailable where there is no room.

        One that is not `claimed` has an address for its owner, until `claim` says that it is somebody's.
        """
        self._check_room(owner)
        if not claimed:
            self._check_unclaimed_room(owner)
            self._unclaimed[session] = owner
        self._held[session] = None
        self._by_owner[owner] += 1
        metrics.LISTEN_CONNECTIONS.labels(kind).inc()
        try:
            yield
        finally:
            metrics.LISTEN_CONNECTIONS.labels(kind).dec()
            self._by_owner[owner] -= 1
            if not self._by_owner[owner]:
                del self._by_owner[owner]
            del self._held[session]
            self.claim(session)

    @contextmanager
    def arriving(self) -> Iterator[Interruptible]:
        """A connection that has not said yet what it is to be: it holds no place, but the end of all is its end too."""
        session = Interruptible()
        self._arriving.add(session)
        if self._ending is not None:
            session.end(self._ending)
        try:
            yield session
        finally:
            self._arriving.discard(session)

    def claim(self, session: Interruptible) -> None:
        """It leaves its place among the unclaimed to another."""
        self._unclaimed.pop(session, None)

    def end_all(self, why: StreamEnded) -> None:
        """Each of them finishes what it has in hand, and none begins any more."""
        self._ending = why
        for session in (*self._held, *self._arriving):
            session.end(why)

    def _check_room(self, owner: str) -> None:
        if self._ending is not None:
            raise Unavailable("shutting_down", "This process is going away; another will answer")
        if len(self._held) >= self._most:
            raise Unavailable("too_many_connections", f"This process holds {self._most} connections already")
        if self._by_owner[owner] >= max(1, self._most // 2):
            raise Unavailable("too_many_connections", "Half of this process's connections are yours already")

    def _check_unclaimed_room(self, address: str) -> None:
        of_address = sum(owner == address for owner in self._unclaimed.values())
        if len(self._unclaimed) >= max(1, self._most // 4) or of_address >= max(1, self._most // 8):
            raise Unavailable("too_many_connections", "Too many connections have not said whose they are")
