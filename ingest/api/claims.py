"""What senders name once is taken once: claims on names in Redis, first for as long as a request may take, then kept.

HTTP side of the event path; request threads, outside of the lane lock, for tenants whose plan asks for it. One round
trip claims all names of a request, one more keeps or lets them go. While Redis is away nothing is claimed, and
nobody waits for it but one request a second.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar, cast

from redis import Redis
from redis.exceptions import RedisError

# Longer than a request takes, a wait for Kafka included; after a crash a repeat is taken again this much later.
PROVISIONAL_MS: Final = 30_000
RETRY_S: Final = 1.0
PROVISIONAL: Final = b"?"
"""What every provisional claim begins with; no kept value does."""
# One script holds up everybody else in Redis for about a microsecond a name.
_NAMES_A_SCRIPT: Final = 1_000

# ARGV: our mark, its life in ms. Returns for each name what it holds already, nil where it is now ours.
_CLAIM: Final = """
local held = {}
for place, name in ipairs(KEYS) do
    held[place] = redis.call('GET', name)
    if not held[place] then redis.call('SET', name, ARGV[1], 'PX', ARGV[2]) end
end
return held
"""
# ARGV: our mark, the value to keep, its life in ms. A claim that has lapsed meanwhile is kept all the same, unless
# somebody else has it by now.
_KEEP: Final = """
for _, name in ipairs(KEYS) do
    local held = redis.call('GET', name)
    if not held or held == ARGV[1] then redis.call('SET', name, ARGV[2], 'PX', ARGV[3]) end
end
"""
# ARGV: our mark.
_LET_GO: Final = """
for _, name in ipairs(KEYS) do
    if redis.call('GET', name) == ARGV[1] then redis.call('DEL', name) end
end
"""

Name = bytes
T = TypeVar("T")


class Call(NamedTuple):
    """One of the scripts, the names it is about, and its arguments."""

    script: str
    names: Sequence[Name]
    arguments: tuple[bytes | int, ...]


def new_mark(of: bytes = b"") -> bytes:
    """A provisional value that no other request has; `of` is told to whoever finds it."""
    return PROVISIONAL + of + secrets.token_bytes(8)


class Claims:
    """One per process. Thread-safe; blocks for a round trip, at most for the client's timeout. `max_events` is what a
    request may hold."""

    def __init__(
        self, redis: Redis, *, kept_s: int, max_events: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_events = max_events
        self._redis = redis
        self._kept_ms = kept_s * 1_000
        self._clock = clock
        self._lock = threading.Lock()
        self._retry_at_s = 0.0
        self._redis_available = True

    def claim(self, marks: Mapping[Name, bytes]) -> dict[Name, bytes] | None:
        """Claim names, each with its mark. What others hold of them already; None when Redis could not be asked."""
        if not self._may_ask():
            return None
        calls = [Call(_CLAIM, names, (mark, PROVISIONAL_MS)) for mark, names in _grouped(marks)]
        try:
            answers = self._call(calls)
        except RedisError:
            self._note(available=False)
            return None
        self._note(available=True)
        values = (value for answer in answers for value in answer)
        held = zip((name for call in calls for name in call.names), values, strict=True)
        return {name: value for name, value in held if value is not None}

    def settle(self, marks: Mapping[Name, bytes], kept: Mapping[Name, bytes]) -> bool:
        """Keep the claims that have a value in `kept`, let go of the others. False when Redis could not be told: then
        all of them lapse by themselves."""
        to_keep = {name: (mark, kept[name]) for name, mark in marks.items() if name in kept}
        to_let_go = {name: (mark,) for name, mark in marks.items() if name not in kept}
        calls = [Call(_KEEP, names, (*found, self._kept_ms)) for found, names in _grouped(to_keep)]
        calls += [Call(_LET_GO, names, mark) for mark, names in _grouped(to_let_go)]
        try:
            self._call(calls)
        except RedisError:
            self._note(available=False)
            return False
        return True

    def _call(self, calls: Sequence[Call]) -> list[list[bytes | None]]:
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            # The text, not its digest: a server that has forgotten the script would cost a round trip more.
            pipeline.eval(call.script, len(call.names), *call.names, *call.arguments)
        return cast(list[list[bytes | None]], pipeline.execute())

    def _may_ask(self) -> bool:
        if self._redis_available:
            return True
        with self._lock:
            now_s = self._clock()
            if now_s < self._retry_at_s:
                return False
            self._retry_at_s = now_s + RETRY_S
            return True

    def _note(self, *, available: bool) -> None:
        with self._lock:
            self._redis_available = available
            if not available:
                self._retry_at_s = self._clock() + RETRY_S


def _grouped(names: Mapping[Name, T]) -> Iterator[tuple[T, list[Name]]]:
    """The names of each value, no more at a time than a script should look at."""
    groups: dict[T, list[Name]] = {}
    for name, value in names.items():
        groups.setdefault(value, []).append(name)
    for value, group in groups.items():
        for at in range(0, len(group), _NAMES_A_SCRIPT):
            yield value, group[at : at + _NAMES_A_SCRIPT]
