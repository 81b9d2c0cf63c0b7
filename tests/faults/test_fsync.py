"""fsync=always on a real disk: no answer before a sync, one for all who wait meanwhile, nothing answered is lost."""

from tests.faults.accounts import samples_of
from tests.faults.conftest import Serve
from tests.faults.tally import tally
from tests.faults.traffic import Client, Traffic, event, ndjson
from tests.node import Node

ALWAYS = {"FOREBAY_JOURNAL_FSYNC": "always"}
ALONE_REQUESTS, SENDERS, KILLS = 200, 32, 3


def syncs(node: Node) -> tuple[int, float]:
    """How often the node has brought a journal to the disk, as its metric tells, and the seconds that took."""
    said = {sample.name.rpartition("_")[2]: sample.value for sample in samples_of(node, "forebay_journal_sync_seconds")}
    return int(said.get("count", 0)), said.get("sum", 0.0)


def test_who_sends_alone_is_never_answered_without_a_sync_of_his_own(serve: Serve) -> None:
    node, key = serve(environment=ALWAYS)
    count, seconds = syncs(node)

    with Client(node.port, key) as client:
        answers = [client.post("/api/logs/batch", ndjson([event("alone", at)])) for at in range(ALONE_REQUESTS)]
    made, synced_s = syncs(node)
    made, synced_s = made - count, synced_s - seconds

    took_s = sum(answer.took_s for answer in answers)
    print(
        f"{ALONE_REQUESTS} requests one after the other: {made} syncs of {1000 * synced_s / made:.1f} ms (mean),"
        f" answers after {1000 * took_s / len(answers):.1f} ms"
    )
    assert {answer.status for answer in answers} == {202}
    assert made == ALONE_REQUESTS
    assert synced_s < took_s, "a sync that an answer did not wait for"


def test_many_who_send_at_once_share_a_sync_and_lose_nothing_when_the_worker_is_killed(
    serve: Serve, kafka_bootstrap: str, topic_name: str
) -> None:
    node, key = serve(environment=ALWAYS)

    with Traffic(node.port, key, senders=SENDERS, batch_events=1, pause_s=0) as traffic:
        traffic.wait_for(500)
        accepted, (count, seconds) = traffic.accepted_events, syncs(node)
        traffic.wait_for(5_000)
        requests, (made, took_s) = traffic.accepted_events - accepted, syncs(node)
        for _ in range(KILLS):
            node.kill_worker()
            traffic.wait_for(1_000)
    books = tally(traffic.sent, kafka_bootstrap, topic_name, node=node)

    made, sync_ms = made - count, 1000 * (took_s - seconds) / (made - count)
    print(
        f"{requests} requests of {SENDERS} senders: {made} syncs of {sync_ms:.1f} ms (mean),"
        f" {requests / made:.1f} requests a sync"
    )
    assert books.discrepancies == []
    assert books.lost == set()
    # A disk that is done before the next request is there leaves nobody to share with.
    assert made < requests / (3 if sync_ms > 1 else 1)
