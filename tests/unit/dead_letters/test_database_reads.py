"""A database that hangs or is away costs its readers an answer, and nobody else a thread."""

import threading
from collections.abc import Iterator

import pytest
import redis
from django.db import OperationalError

from ingest.api.database_reads import READERS, from_database
from ingest.api.usage import read_usage
from ingest.dataplane.errors import Unavailable
from ingest.ledger.usage import Window

pytestmark = pytest.mark.django_db


def refusal(read: object) -> Unavailable:
    with pytest.raises(Unavailable) as refused:
        from_database(read, code="dead_letters_unavailable", detail="Not now", wait_s=0.01)  # type: ignore[arg-type]
    return refused.value


def test_a_database_that_is_away_is_said() -> None:
    def read() -> None:
        raise OperationalError

    assert "the database is away" in refusal(read).detail
    assert from_database(lambda: 17, code="dead_letters_unavailable", detail="Not now") == 17


@pytest.fixture
def everybody_waits() -> Iterator[None]:
    """As many readers as there may be wait for a database that hangs."""
    answers, waiting = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        waiting.release()
        assert answers.wait(20)

    readers = [
        threading.Thread(target=from_database, args=(hang,), kwargs={"code": "dead_letters_unavailable", "detail": ""})
        for _ in range(READERS)
    ]
    for reader in readers:
        reader.start()
        assert waiting.acquire(timeout=20)
    yield
    answers.set()
    for reader in readers:
        reader.join()


def test_no_more_than_a_few_threads_wait_for_a_database_that_hangs(everybody_waits: None) -> None:
    assert "too many ask" in refusal(lambda: 17).detail


def test_who_asks_for_usage_is_one_of_these_few(everybody_waits: None) -> None:
    nobody_listens = redis.Redis(host="127.0.0.1", port=1)

    with pytest.raises(Unavailable, match="too many ask") as refused:
        read_usage(nobody_listens, "acme", Window(0, 60, 60))

    assert refused.value.code == "usage_unavailable"


def test_a_place_is_free_again_after_each_read() -> None:
    answers = [from_database(lambda: 17, code="dead_letters_unavailable", detail="Not now") for _ in range(2 * READERS)]

    assert answers == [17] * 2 * READERS
