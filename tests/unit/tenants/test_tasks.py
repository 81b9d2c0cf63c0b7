"""The task that records the last use of keys, as far as it goes without a Redis."""

import socket

import pytest
from pytest_django import Settings

from tenants.tasks import record_key_use


def test_beat_runs_the_task_by_its_name(settings: Settings) -> None:
    names = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    assert record_key_use.name in names


def test_without_redis_the_task_says_so_and_leaves_the_work_to_the_next_run(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as bound_but_deaf:
        bound_but_deaf.bind(("127.0.0.1", 0))
        settings.FOREBAY_REDIS_URL = f"redis://127.0.0.1:{bound_but_deaf.getsockname()[1]}/0"

        moved = record_key_use()

    assert moved == 0
    assert "Redis does not answer" in caplog.text
