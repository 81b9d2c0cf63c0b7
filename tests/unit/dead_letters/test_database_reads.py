"""A database that hangs or is away costs its readers an answer, and nobody else a thread."""

import threading

import pytest
from django.db import OperationalError

from ingest.api.database_reads import READERS, from_database
from ingest.dataplane.errors import Unavailable

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


def test_no_more_than_a_few_threads_wait_for_a_database_that_hangs() -> None:
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

    refused = refusal(lambda: 17)
    answers.set()
    for reader in readers:
        reader.join()

    assert "too many ask" in refused.detail
    assert from_database(lambda: 17, code="dead_letters_unavailable", detail="Not now") == 17
