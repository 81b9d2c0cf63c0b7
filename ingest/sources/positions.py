"""How far each stream has come: in Redis, so that it may be resumed at another process, and here while that is away.

Sources; the loop's thread asks, one thread of its own talks to Redis, for all streams that wait at the moment in one
round trip. Nobody waits for a Redis that is away but one call a second.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import redis

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
REMEMBERED: Final = 10_000

# KEYS: the stream. ARGV: who has it from now on, its life in ms. Returns how far it has come and its last word.
_OPEN: Final = """
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HMGET', KEYS[1], 'reached', 'said')
"""
# ARGV: who says so, the life in ms, how far, the acknowledgement. Returns 0 where somebody else has it by now.
_REACHED: Final = """
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'reached', ARGV[3], 'said', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


class StreamName(NamedTuple):
    """A stream is its tenant's own."""

    tenant: str
    stream: str

    @property
    def redis_key(self) -> str:
        return f"forebay:stream:{{{self.tenant}}}:{self.stream}"


class Position(NamedTuple):
    """All up to and with the sequence `reached` is accepted or rejected; `said` is the acknowledgement of that."""

    reached: int = 0
    said: bytes = b""


class _Call(NamedTuple):
    script: str
    name: StreamName
    arguments: tuple[Any, ...]
    answer: "asyncio.Future[Any]"


class Positions:
    """One a process."""

    def __init__(self, client: redis.Redis, *, kept_s: int) -> None:
        self._redis = client
        self._kept_ms = kept_s * 1000
        self._here: OrderedDict[StreamName, Position] = OrderedDict()
        self._calls: list[_Call] = []
        self._thread = ThreadPoolExecutor(1, "stream-positions")
        self._flushing: asyncio.Task[None] | None = None
        self._retry_at_s = 0.0

    async def open(self, name: StreamName, owner: str) -> Position:
        """How far a stream has come, as far as Redis or this process knows. From now on it is the owner's."""
        found = await self._ask(_OPEN, name, (owner, self._kept_ms))
        here = self._here.get(name, Position())
        if found is None or found[0] is None or int(found[0]) < here.reached:
            return here
        return Position(int(found[0]), found[1] or b"")

    async def reach(self, name: StreamName, owner: str, position: Position) -> bool:
        """It has come so far. False where it is not the owner's any more."""
        self._here[name] = position
        self._here.move_to_end(name)
        if len(self._here) > REMEMBERED:
            self._here.popitem(last=False)
        answer = await self._ask(_REACHED, name, (owner, self._kept_ms, position.reached, position.said))
        return bool(answer != 0)

    def close(self) -> None:
        """When no stream is open any more."""
        self._thread.shutdown()

    async def _ask(self, script: str, name: StreamName, arguments: tuple[Any, ...]) -> Any:
        """Redis's answer; None while it is away."""
        if time.monotonic() < self._retry_at_s:
            return None
        answer = asyncio.get_running_loop().create_future()
        self._calls.append(_Call(script, name, arguments, answer))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return await answer

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._calls:
            calls, self._calls = self._calls, []
            answers: Sequence[Any] = [None] * len(calls)
            try:
                answers = await loop.run_in_executor(self._thread, self._execute, calls)
            except Exception:  # whatever it is, streams that wait here must not wait for ever
                log.exception("positions of streams cannot be kept")
                self._retry_at_s = time.monotonic() + RETRY_S
            for call, answer in zip(calls, answers, strict=True):
                if not call.answer.done():
                    call.answer.set_result(answer)
        self._flushing = None

    def _execute(self, calls: Sequence[_Call]) -> Sequence[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for call in calls:
            pipe.eval(call.script, 1, call.name.redis_key, *call.arguments)
        try:
            # What goes wrong with one stream is nothing to the others.
            answers = pipe.execute(raise_on_error=False)
        except redis.RedisError as error:
            log.debug("Redis does not answer: %s", error)
            self._retry_at_s = time.monotonic() + RETRY_S
            return [None] * len(calls)
        return [_known(answer, call) for answer, call in zip(answers, calls, strict=True)]


def _known(answer: Any, call: _Call) -> Any:
    if isinstance(answer, Exception):
        log.warning("Redis refuses the position of %s: %s", call.name.redis_key, answer)
        return None
    return answer
