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


def test_one_stream_whose_entry_is_broken_is_nothing_to_the_others(empty_redis_url: str) -> None:
    with Redis.from_url(empty_redis_url) as client:
        client.set(NAME.redis_key, "of another type")
    lost = StreamName("acme", "lost")

    async def both() -> tuple[Any, ...]:
        found, there = positions(empty_redis_url), positions(empty_redis_url)
        await there.open(lost, "another")
        told = await asyncio.gather(
            found.reach(NAME, "me", Position(3, b"ack")), found.reach(lost, "me", Position(5, b"ack"))
        )
        return told, await found.open(NAME, "next")

    told, broken = asyncio.run(both())

    assert told == [True, False]
    assert broken == Position(3, b"ack")


def test_what_nobody_thought_of_holds_up_no_stream(empty_redis_url: str) -> None:
    class Unencodable(str):
        def encode(self, *arguments: Any) -> bytes:
            raise OSError("not one of Redis's errors")

    async def told() -> list[bool]:
        found = positions(empty_redis_url)
        async with asyncio.timeout(20):
            return [
                await found.reach(NAME, Unencodable("me"), Position(1)),
                await found.reach(NAME, "me", Position(2)),
            ]

    assert asyncio.run(told()) == [True, True]


@pytest.mark.parametrize("name", [NAME, StreamName("a-1", "x:y.z_0-")])
def test_streams_of_a_tenant_lie_in_one_slot_of_a_cluster(name: StreamName) -> None:
    assert name.redis_key == f"forebay:stream:{{{name.tenant}}}:{name.stream}"
