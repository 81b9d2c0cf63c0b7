"""How far streams have come, in a real Redis: kept for others, fenced, gathered, and done without."""

import asyncio
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingest.sources.positions import Position, Positions, StreamName
from tests.services import RedisServer

NAME = StreamName("acme", "host-7")


def positions(url: str) -> Positions:
    return Positions(Redis.from_url(url, socket_timeout=1, retry=Retry(NoBackoff(), 0)), kept_s=60)


def test_another_process_goes_on_where_a_stream_was_and_the_first_one_is_told(empty_redis_url: str) -> None:
    async def two() -> tuple[Any, ...]:
        here, there = positions(empty_redis_url), positions(empty_redis_url)
        new = await here.open(NAME, "first")
        is_mine = await here.reach(NAME, "first", Position(5, b"ack"))
        resumed = await there.open(NAME, "second")
        is_still_mine = await here.reach(NAME, "first", Position(9, b"late"))
        again = await positions(empty_redis_url).open(NAME, "third")
        stranger = await there.open(StreamName("bolt", "host-7"), "x")
        return new, is_mine, resumed, is_still_mine, again, stranger

    new, is_mine, resumed, is_still_mine, again, stranger = asyncio.run(two())

    assert (new, is_mine) == (Position(), True)
    assert (resumed, is_still_mine) == (Position(5, b"ack"), False)
    assert again == Position(5, b"ack")
    assert stranger == Position()


def test_those_that_wait_share_a_round_trip(empty_redis_url: str) -> None:
    client = Redis.from_url(empty_redis_url)

    async def many() -> list[bool]:
        found = positions(empty_redis_url)
        names = [StreamName("acme", f"s{number}") for number in range(500)]
        return await asyncio.gather(*(found.reach(name, "me", Position(1)) for name in names))

    before = client.info("stats")["total_reads_processed"]
    answers = asyncio.run(many())
    reads = client.info("stats")["total_reads_processed"] - before
    kept_s = client.ttl(NAME._replace(stream="s0").redis_key)
    client.close()

    assert all(answers)
    assert len(answers) == 500
    assert reads < 100
    assert 0 < kept_s <= 60


def test_without_redis_a_process_knows_what_it_did_itself(own_redis: RedisServer) -> None:
    async def away() -> tuple[Any, ...]:
        found = positions(own_redis.url)
        await found.reach(NAME, "first", Position(5, b"ack"))
        own_redis.kill()
        is_mine = await found.reach(NAME, "first", Position(9, b"later"))
        resumed = await found.open(NAME, "second")
        return is_mine, resumed

    is_mine, resumed = asyncio.run(away())

    assert is_mine
    assert resumed == Position(9, b"later")


@pytest.mark.parametrize("name", [NAME, StreamName("a-1", "x:y.z_0-")])
def test_streams_of_a_tenant_lie_in_one_slot_of_a_cluster(name: StreamName) -> None:
    assert name.redis_key == f"forebay:stream:{{{name.tenant}}}:{name.stream}"
