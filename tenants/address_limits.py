"""Requests a second per client address: fixed windows of one second, counted in Redis, leased in tenths of the limit.

On the event path, before the body is read; called from every request thread. Unlike events and bytes, whose leases are
refilled in the background, a used-up lease is renewed at once by the thread that needs it: at most one round trip a
lease, so that with one process the first request over the limit is already refused. The windows are seconds of this
node's wall clock.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from tenants.buckets import WINDOW, call_scripts
from tenants.quotas import Refusal, RefusalKind, Scope, What

# A window is a tenth of the limit at a time: ten round trips a second for an address that uses all of it.
LEASES_PER_WINDOW: Final = 10
# Outlives the window by enough for nodes whose clocks differ a little.
WINDOW_TTL_MS: Final = 5_000
RETRY_S: Final = 1.0

Caller = tuple[str, str | None]


class _Window:
    """What this process holds of one caller's current second. Its lock is held over the round trip for a new lease."""

    __slots__ = ("emptied", "granted", "lock", "second", "used")

    def __init__(self, second: int) -> None:
        self.lock = threading.Lock()
        self.restart(second)

    def restart(self, second: int) -> None:
        self.second = second
        self.granted = 0
        self.used = 0
        self.emptied = False


class AddressLimits:
    """With N processes at most `limit` requests pass in a window while Redis answers; without it, each one's share.

    Thread-safe. Remembers at most `max_addresses` callers; the oldest go first, which can only cost them the rest of a
    lease, because Redis keeps the count.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        process_count: int,
        clock: Callable[[], float] = time.time,
        max_addresses: int = 20_000,
        on_redis_available: Callable[[bool], None] = lambda available: None,
    ) -> None:
        self._redis = redis
        self._process_count = process_count
        self._clock = clock
        self._max_addresses = max_addresses
        self._on_redis_available = on_redis_available
        self._windows: dict[Caller, _Window] = {}
        self._lock = threading.Lock()
        self._retry_at_s = 0.0
        self.redis_available = True

    @property
    def remembered(self) -> int:
        return len(self._windows)

    def admit(self, address: str, key_id: str | None, limit_per_s: int) -> Refusal | None:
        """Count one request of an address with a key, or with none that is valid; a limit of 0 is off.

        Blocks for one round trip when the lease is used up, at most for the client's timeout.
        """
        if limit_per_s <= 0:
            return None
        window = self._windows.get((address, key_id)) or self._open((address, key_id))
        with window.lock:
            now_s = self._clock()
            if int(now_s) != window.second:
                window.restart(int(now_s))
            if window.used >= window.granted and not window.emptied:
                self._renew(window, address, key_id, limit_per_s)
            if window.used < window.granted:
                window.used += 1
                return None
        return self._refusal(limit_per_s, now_s)

    def _refusal(self, limit: int, now_s: float) -> Refusal:
        reset_s = max(0.001, 1.0 - now_s % 1.0)
        return Refusal(RefusalKind.EXHAUSTED, Scope.ADDRESS, What.REQUESTS_PER_S, limit, limit, limit, reset_s)

    def _open(self, caller: Caller) -> _Window:
        second = int(self._clock())
        with self._lock:
            if len(self._windows) >= self._max_addresses:
                self._evict(second)
            return self._windows.setdefault(caller, _Window(second))

    def _evict(self, second: int) -> None:
        """Drop what belongs to past seconds; in a flood of addresses also the older half of the rest."""
        current = {caller: window for caller, window in self._windows.items() if window.second >= second}
        excess = max(0, len(current) - self._max_addresses // 2)
        self._windows = dict(list(current.items())[excess:])

    def _renew(self, window: _Window, address: str, key_id: str | None, limit: int) -> None:
        wanted = max(1, limit // LEASES_PER_WINDOW)
        granted = self._lease(f"forebay:quota:{{{address}}}:{key_id or 'anonymous'}:{window.second}", limit, wanted)
        if granted is None:
            # The local share counts what Redis has granted in this second already.
            granted = max(0, max(1, limit // self._process_count) - window.granted)
            window.emptied = True
        else:
            window.emptied = granted < wanted
        window.granted += granted

    def _lease(self, redis_key: str, limit: int, wanted: int) -> int | None:
        if not self._asks_redis():
            return None
        try:
            (grant,) = call_scripts(self._redis, [(WINDOW, redis_key, (limit, wanted, 0, WINDOW_TTL_MS))])
        except RedisError:
            grant = None
        self._note_redis(grant is not None)
        return None if grant is None else int(grant.granted)

    def _asks_redis(self) -> bool:
        """While Redis is away one request in RETRY_S tries it, and the others do not wait for that one."""
        if self.redis_available:
            return True
        with self._lock:
            now_s = self._clock()
            # The second half of the condition outlives a wall clock that is set back.
            if now_s < self._retry_at_s <= now_s + RETRY_S:
                return False
            self._retry_at_s = now_s + RETRY_S
            return True

    def _note_redis(self, available: bool) -> None:
        with self._lock:
            changed = available is not self.redis_available
            self.redis_available = available
            if not available:
                self._retry_at_s = self._clock() + RETRY_S
        if changed:
            self._on_redis_available(available)
