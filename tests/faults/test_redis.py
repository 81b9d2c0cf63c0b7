"""Redis absent at the start, killed, frozen and slow under load: a tenant inside its quota notices nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.faults.accounts import pending_events, seconds_until
from tests.faults.conftest import Serve, admit_tenant, wait_until_known
from tests.faults.proxy import Proxy
from tests.faults.tally import tally
from tests.faults.traffic import Client, Traffic
from tests.node import Node
from tests.programs import poll_until
from tests.services import RedisServer

# Twice as long as Forebay waits for it.
SLOW_S = 0.5


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
    books = tally(traffic.sent, kafka_bootstrap, topic_name, node=node, tenant="bolt")

    assert not was_available
    assert recovered
    assert set(books.sent.codes) == {"202"}
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)


@dataclass(frozen=True)
class RedisOnTheNetwork:
    """A Redis, and the network between it and Forebay."""

    server: RedisServer
    network: Proxy

    @property
    def url(self) -> str:
        return f"redis://{self.network.address}/0"


@pytest.fixture
def redis(own_redis: RedisServer) -> Iterator[RedisOnTheNetwork]:
    network = Proxy(int(own_redis.url.rpartition(":")[2].partition("/")[0]))
    yield RedisOnTheNetwork(own_redis, network)
    network.close()


Step = Callable[[RedisOnTheNetwork], object]


@pytest.mark.parametrize(
    ("fails", "recovers"),
    [
        (lambda redis: redis.server.kill(), lambda redis: redis.server.start()),
        (lambda redis: redis.server.freeze(), lambda redis: redis.server.thaw()),
        (lambda redis: redis.network.slow(delay_s=SLOW_S), lambda redis: redis.network.heal()),
    ],
    ids=["killed", "frozen", "slow"],
)
def test_a_redis_lost_under_load_costs_no_tenant_a_request(
    serve: Serve, redis: RedisOnTheNetwork, kafka_bootstrap: str, topic_name: str, fails: Step, recovers: Step
) -> None:
    node, _ = serve(redis_url=redis.url)
    key = admit_tenant(node, "bolt", plan="standard")
    wait_until_known(node, key)

    with within_the_quota(node, key) as traffic:
        traffic.wait_for(300)
        fails(redis)
        noticed = poll_until(lambda: not redis_is_available(node), 30)
        traffic.wait_for(1_000)
        recovers(redis)
        heal_s = seconds_until(lambda: redis_is_available(node), 30)
        traffic.wait_for(300)
    seconds_until(lambda: not pending_events(node.port))
    books = tally(traffic.sent, kafka_bootstrap, topic_name, node=node, tenant="bolt", heal_s=heal_s)

    assert noticed
    assert set(books.sent.codes) == {"202"}
    assert books.sent.slowest_s < 3
    assert books.discrepancies == []
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)
