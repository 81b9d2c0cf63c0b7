"""The loads that wrk cannot send: one that is due at fixed moments whatever the server does, and one of a fixed size.

A process of its own (a Companion), one thread. Told `singles PORT SECONDS` or `batches PORT SECONDS` it sends an open
loop and counts from the moment a request was due, so that a server that stalls cannot hide it; told `fixed PORT` it
sends so many events as fast as answers come, told `warm PORT` a few of them.
"""

import argparse
import asyncio
import random
import selectors
import time
from collections.abc import Coroutine, Iterator
from typing import Any, Final, NamedTuple

from bench.connections import Pool
from bench.latency import percentiles_ms
from bench.payloads import DUE, NEVER_DUE, batch, events
from bench.processes import answer_lines
from bench.rows import BATCH_500, PACED_BATCH_EVENTS, PACED_EVENTS_PER_S, PACED_SINGLES_PER_S, SINGLE, SMALL_BYTES

# Enough that an open loop is never held up by its own connections unless the server stalls for long.
PACED_CONNECTIONS: Final = 48
FIXED_CONNECTIONS: Final = 16
FIXED_REQUESTS: Final = 320
WARM_REQUESTS: Final = 60
BODIES: Final = 64
# The beginning of an open loop finds cold connections; it is sent, and not measured.
RAMP_S: Final = 0.5


class Due(NamedTuple):
    """A request of an open loop: seconds after its beginning, events, and the body but for the moment in it."""

    at_s: float
    events: int
    body: bytes


class OpenLoop:
    """One run: sends each request when it is due, late only by what the machine's scheduler takes."""

    def __init__(self, pool: Pool, path: str) -> None:
        self._pool = pool
        self._path = path
        self._latencies_s: list[float] = []
        self._late_s: list[float] = []
        self._measured_events = 0
        self._sent_events = 0
        self._failed = 0

    async def run(self, schedule: list[Due]) -> dict[str, Any]:
        begun_s, begun_wall_ns = time.monotonic(), time.time_ns()
        async with asyncio.TaskGroup() as sending:
            for due in schedule:
                await asyncio.sleep(max(0.0, begun_s + due.at_s - time.monotonic()))
                stamp = b"%d" % (begun_wall_ns + int(due.at_s * 1e9)) if due.at_s >= RAMP_S else NEVER_DUE
                sending.create_task(self._send(due, begun_s + due.at_s, due.body.replace(DUE, stamp)))
        return self._found(time.monotonic() - begun_s)

    async def _send(self, due: Due, due_s: float, body: bytes) -> None:
        late_s = time.monotonic() - due_s
        status = await self._pool.post(self._path, body)
        self._sent_events += due.events
        if status != 202:
            self._failed += 1
        if due.at_s >= RAMP_S:
            self._measured_events += due.events
            self._late_s.append(late_s)
            self._latencies_s.append(time.monotonic() - due_s)

    def _found(self, wall_s: float) -> dict[str, Any]:
        return {
            "sent_events": self._sent_events,
            "measured_events": self._measured_events,
            "failed": self._failed,
            "wall_s": wall_s,
            "late_p99_ms": percentiles_ms(self._late_s)[2],
            "latency_ms": percentiles_ms(self._latencies_s),
        }


def singles(seconds_s: float) -> Iterator[Due]:
    """One event each, evenly."""
    bodies = events(BODIES, SMALL_BYTES, due=True)
    for number in range(int(seconds_s * PACED_SINGLES_PER_S)):
        yield Due(number / PACED_SINGLES_PER_S, 1, bodies[number % BODIES])


def batches(seconds_s: float) -> Iterator[Due]:
    """Batches of different sizes, each due when its events have come together at the wanted rate."""
    chooser = random.Random(1)
    sizes = [chooser.randint(*PACED_BATCH_EVENTS) for _ in range(BODIES)]
    bodies = [batch(events(size, SMALL_BYTES, seed, due=True)) for seed, size in enumerate(sizes)]
    sent, number = 0, 0
    while sent < seconds_s * PACED_EVENTS_PER_S:
        size = sizes[number % BODIES]
        yield Due(sent / PACED_EVENTS_PER_S, size, bodies[number % BODIES])
        sent, number = sent + size, number + 1


async def open_loop(port: int, key: str, path: str, schedule: list[Due]) -> dict[str, Any]:
    pool = Pool(port, key)
    await pool.connect(PACED_CONNECTIONS)
    try:
        return await OpenLoop(pool, path).run(schedule)
    finally:
        pool.close()


async def fixed(port: int, key: str, bodies: list[bytes]) -> dict[str, Any]:
    """Every body once over a few connections, as fast as they are answered."""
    pool = Pool(port, key)
    await pool.connect(FIXED_CONNECTIONS)
    begun_s = time.monotonic()
    left = iter(bodies)
    try:
        statuses = await asyncio.gather(*(_post_all(pool, left) for _ in range(FIXED_CONNECTIONS)))
    finally:
        pool.close()
    flat = [status for some in statuses for status in some]
    failed = sum(status != 202 for status in flat)
    return {"sent_events": len(flat) * BATCH_500.events, "failed": failed, "wall_s": time.monotonic() - begun_s}


async def _post_all(pool: Pool, left: Iterator[bytes]) -> list[int]:
    return [await pool.post(BATCH_500.path, body) for body in left]


def fixed_bodies() -> list[bytes]:
    """A quarter of them differ: more would take longer to make than to send, and repeat only after megabytes."""
    different = [batch(events(BATCH_500.events, SMALL_BYTES, seed)) for seed in range(FIXED_REQUESTS // 4)]
    return different * 4


class Client:
    """Carries out what the benchmark asks for, a line each."""

    def __init__(self, key: str) -> None:
        self._key = key
        # epoll counts in whole milliseconds; select() is as exact as the kernel's timers, and the connections are few.
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._fixed_bodies: list[bytes] = []

    def answer(self, line: str) -> dict[str, Any]:
        order, port, *seconds = line.split()
        return self._loop.run_until_complete(self._run(order, int(port), *map(float, seconds)))

    def _run(self, order: str, port: int, seconds_s: float = 0.0) -> Coroutine[Any, Any, dict[str, Any]]:
        if order == "singles":
            return open_loop(port, self._key, SINGLE.path, list(singles(seconds_s)))
        if order == "batches":
            return open_loop(port, self._key, BATCH_500.path, list(batches(seconds_s)))
        self._fixed_bodies = self._fixed_bodies or fixed_bodies()
        bodies = self._fixed_bodies[:WARM_REQUESTS] if order == "warm" else self._fixed_bodies
        return fixed(port, self._key, bodies)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.client", description=__doc__)
    parser.add_argument("key", help="an API key")
    answer_lines(Client(parser.parse_args().key).answer)


if __name__ == "__main__":
    main()
