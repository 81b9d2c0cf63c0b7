"""Workers, whole nodes and goodbyes: whatever dies, every 202 is in Kafka afterwards."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.consumer import event_id
from tests.faults.accounts import samples_of, seconds_until
from tests.faults.conftest import Serve
from tests.faults.tally import partitions_by_key, tally
from tests.faults.traffic import Sent, Traffic
from tests.node import Node
from tests.programs import poll_until

KILLS, WORKERS = 10, 3
PAUSE_S, SETTLED_EVERY_S = 0.01, 0.05
MARGIN = 2


def journals(node: Node) -> list[Path]:
    """The directories of the node's journals."""
    root = Path(node.environment["FOREBAY_VAR_DIR"]) / "journal"
    return sorted(root.iterdir()) if root.exists() else []


def in_flight_s(node: Node) -> float:
    """How long a request's records were in flight, on average. Workers tell of it each second."""

    def told(end: str) -> float:
        return sum(one.value for one in samples_of(node, "forebay_produce_seconds") if one.name.endswith(end))

    assert poll_until(lambda: told("_count") > 0, 20)
    return told("_sum") / told("_count")


def twice_at_most(sent: Sent, deaths: int, flight_s: float, *, senders: int, batch_events: int = 20) -> int:
    """A death sends again what was in flight, and what was acknowledged since the last settling: what was accepted
    within so long."""
    cycle_s = sum(sent.latencies_s) / len(sent.latencies_s) + PAUSE_S
    expected = deaths * senders * batch_events / cycle_s * (flight_s + SETTLED_EVERY_S)
    print(
        f"{deaths} deaths, in flight for {flight_s * 1000:.0f} ms: {expected:.0f} may come twice, {MARGIN} times that"
    )
    return int(MARGIN * expected)


def test_a_sigterm_under_load_leaves_no_event_behind(serve: Serve, kafka_bootstrap: str, topic_name: str) -> None:
    node, key = serve()

    with Traffic(node.port, key, senders=8, pause_s=0) as traffic:
        traffic.wait_for(10_000)
        exit_code = node.stop()
    books = tally(traffic.sent, kafka_bootstrap, topic_name, node=node)

    assert exit_code == 0
    assert books.discrepancies == []
    assert set(books.stored) == set(books.sent.accepted)
    assert (books.duplicates, books.inversions) == (0, 0)


def test_two_nodes_stopped_and_started_one_after_the_other_under_load_lose_and_repeat_nothing(
    serve: Serve, start_node: Callable[..., Node], kafka_bootstrap: str, topic_name: str
) -> None:
    two = {"FOREBAY_NODES": "2"}
    first, key = serve(environment=two)
    nodes = [first, start_node(environment=two)]

    with Traffic([node.port for node in nodes], key, senders=4) as traffic:
        traffic.wait_for(2_000)
        exit_codes = []
        for node in nodes:
            exit_codes.append(node.stop())
            traffic.wait_for(500)
            node.start()
            traffic.wait_for(1_000)
    books = tally(traffic.sent, kafka_bootstrap, topic_name, node=first)

    assert exit_codes == [0, 0]
    assert set(books.sent.codes) <= {"202", "503 shutting_down", "unanswered"}
    assert books.discrepancies == []
    assert (books.lost, books.duplicates) == (set(), 0)


def test_workers_killed_again_and_again_under_load_lose_nothing(
    serve: Serve, kafka_bootstrap: str, topic_name: str
) -> None:
    # A worker is respawned after some seconds: with several the next can be killed meanwhile.
    node, key = serve(environment={"FOREBAY_WORKERS": str(WORKERS)})
    killed: set[int] = set()

    with Traffic(node.port, key, senders=4) as traffic:
        for _ in range(KILLS):
            traffic.wait_for(1_500)
            killed.add(node.kill_worker())
        heal_s = seconds_until(lambda: len(node.worker_pids()) == WORKERS)
        traffic.wait_for(1_500)
    books = tally(traffic.sent, kafka_bootstrap, topic_name, node=node, heal_s=heal_s)
    versions: dict[str, set[bytes]] = {}
    for record in books.records:
        versions.setdefault(event_id(record), set()).add(record.value)

    assert len(killed) == KILLS
    assert books.discrepancies == []
    assert books.lost == set()
    assert all(len(values) == 1 for values in versions.values())
    assert books.duplicates <= twice_at_most(books.sent, KILLS, in_flight_s(node), senders=4)
    assert max(partitions_by_key(books.records).values()) == 1
    # What their accounts say is kept elsewhere by now, so nothing holds the journals of the dead.
    assert poll_until(lambda: len(journals(node)) <= WORKERS, 20)


def test_a_node_killed_whole_under_load_delivers_the_rest_when_it_is_back(
    serve: Serve, kafka_bootstrap: str, topic_name: str
) -> None:
    node, key = serve()

    with Traffic(node.port, key, senders=4) as traffic:
        traffic.wait_for(5_000)
        flight_s = in_flight_s(node)
        node.kill()
    left_behind = journals(node)
    # Nobody sends anything, nobody asks how it is: what was accepted must leave all the same.
    node.start(ready=False)
    books = tally(traffic.sent, kafka_bootstrap, topic_name, node=node)

    assert len(left_behind) == 1
    assert books.discrepancies == []
    assert books.lost == set()
    assert books.duplicates <= twice_at_most(books.sent, 1, flight_s, senders=4)
    assert poll_until(lambda: left_behind[0] not in journals(node), 20)


def test_two_workers_under_many_senders_count_the_same_as_kafka(
    serve: Serve, kafka_bootstrap: str, topic_name: str
) -> None:
    node, key = serve(environment={"FOREBAY_WORKERS": "2"})

    with Traffic(node.port, key, senders=8, batch_events=50, pause_s=0) as traffic:
        traffic.wait_for(30_000)
    books = tally(traffic.sent, kafka_bootstrap, topic_name, node=node)

    assert len(node.worker_pids()) == 2
    assert set(books.sent.codes) == {"202"}
    assert sorted(books.stored) == sorted(books.sent.accepted)
    assert books.inversions == 0


def test_a_worker_of_two_that_dies_has_its_journal_adopted_by_the_other(
    serve: Serve, kafka_bootstrap: str, topic_name: str
) -> None:
    node, key = serve(environment={"FOREBAY_WORKERS": "2"})

    with Traffic(node.port, key, senders=8) as traffic:
        traffic.wait_for(5_000)
        for pid in node.worker_pids():
            os.kill(pid, signal.SIGKILL)
            traffic.wait_for(3_000)
    books = tally(traffic.sent, kafka_bootstrap, topic_name, node=node)

    assert books.discrepancies == []
    assert books.lost == set()
    assert books.duplicates <= twice_at_most(books.sent, 2, in_flight_s(node), senders=8)
