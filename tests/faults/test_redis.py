"""Redis absent at the start, killed and frozen under load: a tenant inside its quota notices nothing."""

from collections.abc import Callable

import pytest

from tests.faults.conftest import Serve, admit_tenant, wait_until_known
from tests.faults.tally import tally, wait_until_drained
from tests.faults.traffic import Client, Traffic
from tests.node import Node
from tests.programs import poll_until
from tests.services import RedisServer


def redis_is_available(node: Node) -> bool:
    with Client(node.port, "") as client:
        return bool(client.get("/api/logs/health").body["redis_available"])


def within_the_quota(node: Node, key: str) -> Traffic:
    """Far below the plan `standard`: 5,000 events/s, and 100 requests/s of one address."""
    return Traffic(node.port, key, senders=2, batch_events=10, pause_s=0.05)


def test_a_node_that_starts_without_redis_serves_and_uses_it_once_it_comes(
    serve: Serve, own_redis: RedisServer, kafka_bootstrap: str, topic_name: str
) -> None:
    own_redis.stop()
    node, _ = serve(redis_url=own_redis.url)
    key = admit_tenant(node, "bolt", plan="standard")
    wait_until_known(node, key)

    with within_the_quota(node, key) as traffic:
        traffic.wait_for(500)
        was_available = redis_is_available(node)
        own_redis.start()
        recovered = poll_until(lambda: redis_is_available(node), 30)
        traffic.wait_for(500)
    books = tally(traffic.sent, kafka_bootstrap, topic_name, pending_events=wait_until_drained(node.port))

    assert not was_available
    assert recovered
    assert set(books.sent.codes) == {"202"}
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)


@pytest.mark.parametrize(
    ("fails", "recovers"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.freeze, RedisServer.thaw)],
    ids=["killed", "frozen"],
)
def test_a_redis_lost_under_load_costs_no_tenant_a_request(
    serve: Serve,
    own_redis: RedisServer,
    kafka_bootstrap: str,
    topic_name: str,
    fails: Callable[[RedisServer], None],
    recovers: Callable[[RedisServer], None],
) -> None:
    node, _ = serve(redis_url=own_redis.url)
    key = admit_tenant(node, "bolt", plan="standard")
    wait_until_known(node, key)

    with within_the_quota(node, key) as traffic:
        traffic.wait_for(300)
        fails(own_redis)
        noticed = poll_until(lambda: not redis_is_available(node), 30)
        traffic.wait_for(1_000)
        recovers(own_redis)
        recovered = poll_until(lambda: redis_is_available(node), 30)
        traffic.wait_for(300)
    books = tally(traffic.sent, kafka_bootstrap, topic_name, pending_events=wait_until_drained(node.port))

    assert noticed
    assert recovered
    assert set(books.sent.codes) == {"202"}
    assert books.sent.slowest_s < 3
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)
