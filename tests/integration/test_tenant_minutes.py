"""Who sends how much and who is limited by what, minute by minute, on a real Redis and from a real worker."""

import http.client
import json
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from ingest.tenant_minutes import Limited, busiest, limited, limited_hours, sent, tenant_minutes_add
from tests.node import Node
from tests.programs import poll_until

MINUTE = 29_000_000
AT_S = MINUTE * 60.0


@pytest.fixture
def redis(empty_redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(empty_redis_url) as client:
        yield client


Limits = dict[tuple[str, str], int]


def add(redis: Redis, wall_s: float, events: dict[str, int] | None = None, throttled: Limits | None = None) -> None:
    pipe = redis.pipeline(transaction=False)
    tenant_minutes_add(pipe, events or {}, throttled or {}, wall_s)
    pipe.execute()


def test_the_busiest_are_those_of_the_last_whole_minute_over_all_workers(redis: Redis) -> None:
    add(redis, AT_S, {"acme": 600, "bolt": 60})
    add(redis, AT_S + 59.9, {"bolt": 1_200})  # of another worker
    add(redis, AT_S + 60, {"crux": 9_999})  # this minute is not over yet

    assert busiest(redis, wall_s=AT_S + 61) == [("bolt", 21.0), ("acme", 10.0)]
    assert busiest(redis, 1, wall_s=AT_S + 61) == [("bolt", 21.0)]
    assert busiest(redis, wall_s=AT_S + 200) == []


def test_a_tenant_s_rate_is_asked_for_by_name(redis: Redis) -> None:
    add(redis, AT_S, {"acme": 600})

    assert sent(redis, ["acme", "nobody"], wall_s=AT_S + 61) == {"acme": 10.0, "nobody": 0.0}
    assert sent(redis, [], wall_s=AT_S + 61) == {}


def test_limits_count_over_two_minutes_the_most_refused_first(redis: Redis) -> None:
    add(redis, AT_S, throttled={("bolt", "tenant events_per_s"): 3, ("acme", "key events_per_day"): 4})
    add(redis, AT_S + 60, throttled={("bolt", "tenant events_per_s"): 5, ("", "address requests_per_s"): 1})

    found = limited(redis, wall_s=AT_S + 61)

    assert found == [
        Limited("bolt", "tenant events_per_s", 8),
        Limited("acme", "key events_per_day", 4),
        Limited("", "address requests_per_s", 1),
    ]
    assert limited(redis, "acme", wall_s=AT_S + 61) == [Limited("acme", "key events_per_day", 4)]
    assert limited(redis, wall_s=AT_S + 185) == []


def test_a_day_is_summed_from_its_hours(redis: Redis) -> None:
    add(redis, AT_S - 23 * 3_600, throttled={("bolt", "tenant events_per_s"): 2})
    add(redis, AT_S, throttled={("bolt", "tenant events_per_s"): 3})
    add(redis, AT_S - 30 * 3_600, throttled={("bolt", "tenant events_per_s"): 100})

    assert limited_hours(redis, "bolt", wall_s=AT_S) == [Limited("bolt", "tenant events_per_s", 5)]


def test_every_key_goes_by_itself(redis: Redis) -> None:
    add(redis, AT_S, {"acme": 1}, {("acme", "tenant events_per_s"): 1})

    lasting = Counter(redis.ttl(key) for key in redis.scan_iter("forebay:{tenants}:*"))

    assert lasting == {7_200: 2, 172_800: 2}


def test_a_real_worker_tells_who_was_limited_by_what(start_node: Callable[..., Node], redis: Redis) -> None:
    node = start_node()
    node.manage("tenant_create", "bolt")
    made = node.manage("key_issue", "bolt", "--events-per-s", "10", "--burst-events", "10", "--json")
    key = json.loads(made.strip().splitlines()[-1])["secret"]

    assert poll_until(lambda: send(node, key, 10) == 202, deadline_s=20)
    assert poll_until(lambda: send(node, key, 10) == 429, deadline_s=20)

    def is_told() -> bool:
        return [(row.tenant, row.limit) for row in limited(redis)] == [("bolt", "key events_per_s")]

    assert poll_until(is_told, deadline_s=20), limited(redis)


def send(node: Node, key: str, count: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    events = [{"source": "shop", "level": "INFO", "message": f"event {number}"} for number in range(count)]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/api/logs/batch", json.dumps(events), headers)
        return connection.getresponse().status
    finally:
        connection.close()
