"""fsync=always on a disk that fails: a refusal that keeps nothing from anybody else, of events that are kept."""

import json
from collections.abc import Callable, Iterator
from wsgiref.types import WSGIApplication

import pytest
from django.conf import settings
from prometheus_client import REGISTRY

from ingest.dataplane.disk import SyncFailed
from ingest.dataplane.group_commit import GroupCommit
from ingest.dataplane.segments import Record
from ingest.dataplane.tally import flush_all
from ingest.worker import Worker
from tests.contract.cast import KEYS
from tests.contract.exchanges import Answer, call, environ_of

ONE = json.dumps({"source": "checkout", "level": "INFO", "message": "paid"}).encode()


@pytest.fixture
def post(way: WSGIApplication, peer: str) -> Callable[[], Answer]:
    headers = {"Authorization": f"Bearer {KEYS['acme']}"}
    return lambda: call(way, environ_of("POST", "/api/logs", ONE, headers, query="delivery=ack", peer=peer))


@pytest.fixture
def bad_disk(node: Worker) -> Iterator[Worker]:
    """No sync of the node's journal comes through."""

    def sync() -> int:
        failed = SyncFailed(5, "Input/output error")
        failed.written = node.engine.journal.written
        raise failed

    node.commit = GroupCommit(sync)
    yield node
    node.commit = None


def accepted_total() -> float:
    flush_all()
    return REGISTRY.get_sample_value("forebay_events_accepted_total", {"tenant": "_other", "dialect": "native"}) or 0.0


def test_what_the_disk_does_not_take_is_refused_with_a_word_and_counted_as_what_it_is(
    bad_disk: Worker, post: Callable[[], Answer], new_records: Callable[[], list[Record]]
) -> None:
    before = accepted_total()

    answer = post()

    assert (answer.status, answer.body["code"]) == (503, "journal_unwritable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "may arrive all the same" in answer.body["detail"]
    assert len(new_records()) == 1
    assert accepted_total() == before + 1


def test_those_whom_a_failing_disk_refuses_keep_nobody_from_waiting_for_kafka(
    bad_disk: Worker, post: Callable[[], Answer]
) -> None:
    refused = [post().status for _ in range(settings.FOREBAY_THREADS)]
    bad_disk.commit = None

    answer = post()

    assert set(refused) == {503}
    assert (answer.status, answer.body["status"]) == (200, "Delivered")
