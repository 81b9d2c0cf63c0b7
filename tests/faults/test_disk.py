"""A disk that has no room: what cannot be journaled is refused, what was accepted leaves, the room is used again."""

from pathlib import Path

from tests.faults.accounts import pending_events, seconds_until
from tests.faults.brokers import BreakableKafka
from tests.faults.conftest import Serve
from tests.faults.small_disk import fill, small_disk
from tests.faults.tally import tally
from tests.faults.traffic import Traffic
from tests.programs import poll_until

MIB = 1 << 20
DISK_BYTES = 24 * MIB


def takes_events_again(traffic: Traffic) -> float:
    """The seconds until an event is accepted."""
    accepted = traffic.accepted_events
    return seconds_until(lambda: traffic.accepted_events > accepted)


def test_a_full_disk_is_a_503_until_kafka_has_taken_what_was_accepted(
    serve: Serve, kafka: BreakableKafka, topic_name: str, tmp_path: Path
) -> None:
    journal_dir = tmp_path / "journal"
    with small_disk(journal_dir, DISK_BYTES) as is_mounted:
        # Without a disk of its own the journal's own bound is what is full.
        max_bytes = 1 << 30 if is_mounted else DISK_BYTES
        bounds = {
            "FOREBAY_JOURNAL_DIR": str(journal_dir),
            "FOREBAY_JOURNAL_MAX_BYTES": str(max_bytes),
            "FOREBAY_JOURNAL_SEGMENT_BYTES": str(4 * MIB),
            "FOREBAY_PRODUCER_QUEUE_BYTES": str(MIB),
        }
        node, key = serve(kafka_bootstrap=kafka.bootstrap, environment=bounds)

        with Traffic(node.port, key, senders=3, batch_events=100, pause_s=0, message="x" * 1_000) as traffic:
            traffic.wait_for(1_000)
            kafka.server.freeze()
            assert poll_until(lambda: len(traffic.sent.refusals) >= 10, 60)
            kafka.server.thaw()
            heal_s = takes_events_again(traffic)
            traffic.wait_for(5_000)
        seconds_until(lambda: not pending_events(node.port))
        books = tally(traffic.sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)
        node.stop()

    print("a tmpfs of its own" if is_mounted else "not root: the journal's bound instead of a full disk")
    refused_as = "journal_unwritable" if is_mounted else "journal_full"
    assert set(books.sent.codes) == {"202", f"503 {refused_as}"}
    assert all(int(refusal.headers["retry-after"]) >= 1 for refusal in books.sent.refusals)
    assert books.discrepancies == []
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)


def test_a_disk_that_a_neighbour_fills_costs_refusals_only_as_long_as_it_is_full(
    serve: Serve, kafka: BreakableKafka, topic_name: str, tmp_path: Path
) -> None:
    journal_dir = tmp_path / "journal"
    with small_disk(journal_dir, DISK_BYTES) as is_mounted:
        bounds = {"FOREBAY_JOURNAL_DIR": str(journal_dir), "FOREBAY_JOURNAL_SEGMENT_BYTES": str(4 * MIB)}
        if not is_mounted:
            bounds["FOREBAY_JOURNAL_MAX_BYTES"] = str(8 * MIB)
        node, key = serve(kafka_bootstrap=kafka.bootstrap, environment=bounds)

        with Traffic(node.port, key, senders=3, batch_events=100, pause_s=0, message="x" * 1_000) as traffic:
            traffic.wait_for(1_000)
            filler = fill(journal_dir) if is_mounted else None
            kafka.server.freeze()
            assert poll_until(lambda: len(traffic.sent.refusals) >= 5, 60)
            if filler is not None:
                filler.unlink()
            kafka.server.thaw()
            heal_s = takes_events_again(traffic)
            traffic.wait_for(5_000)
        seconds_until(lambda: not pending_events(node.port))
        books = tally(traffic.sent, kafka.bootstrap, topic_name, node=node, heal_s=heal_s)
        node.stop()

    assert set(books.sent.codes) == {"202", "503 journal_unwritable" if is_mounted else "503 journal_full"}
    assert books.discrepancies == []
    assert (books.lost, books.duplicates, books.inversions) == (set(), 0, 0)
