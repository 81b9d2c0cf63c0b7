"""The tasks of the ledger, as far as they go without a Redis."""

import socket
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from ingest.tasks.ledger import ledger_check, ledger_copy, ledger_roll_up


@pytest.fixture
def deaf_redis(settings: Settings) -> Iterator[None]:
    with socket.socket() as bound_but_deaf:
        bound_but_deaf.bind(("127.0.0.1", 0))
        settings.FOREBAY_REDIS_URL = f"redis://127.0.0.1:{bound_but_deaf.getsockname()[1]}/0"
        yield


def test_beat_runs_the_tasks_by_their_names(settings: Settings) -> None:
    names = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    assert {ledger_copy.name, ledger_check.name, ledger_roll_up.name} <= names


def test_without_redis_the_tasks_say_so_and_leave_the_work_to_the_next_run(
    deaf_redis: None, caplog: pytest.LogCaptureFixture
) -> None:
    copied, wrong = ledger_copy(), ledger_check()

    assert (copied, wrong) == (0, [])
    assert caplog.text.count("the next run does it") == 2
