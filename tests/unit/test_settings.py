"""The settings as another environment makes them."""

import runpy
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from forebay import settings as module
from ingest.alerts.notify import A_RUN_AT_MOST_S
from ingest.tasks.dead_letters import RETIRE_BUDGET_S, SWEEP_SHARE
from ingest.tasks.ledger import ROLL_UP_BUDGET_S


def settings_with(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(module.__file__)


def test_a_database_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings_with(monkeypatch, DATABASE_URL="postgres://forebay@db/forebay?keepalives_idle=60")

    options = made["DATABASES"]["default"]["OPTIONS"]
    assert options["options"] == "-c statement_timeout=60000"
    assert (options["keepalives_interval"], options["keepalives_count"], options["connect_timeout"]) == (5, 3, 5)
    assert int(options["keepalives_idle"]) == 60


@pytest.mark.parametrize("interval_s", [5.0, 300.0])
def test_a_task_that_hangs_is_ended_and_none_that_keeps_to_its_budget(
    monkeypatch: pytest.MonkeyPatch, interval_s: float
) -> None:
    made = settings_with(monkeypatch, FOREBAY_REPLAY_SWEEP_INTERVAL_S=str(interval_s))

    longest_s = max(SWEEP_SHARE * interval_s, RETIRE_BUDGET_S, ROLL_UP_BUDGET_S, A_RUN_AT_MOST_S)
    assert made["CELERY_TASK_SOFT_TIME_LIMIT"] >= longest_s + 40
    assert made["CELERY_TASK_TIME_LIMIT"] > made["CELERY_TASK_SOFT_TIME_LIMIT"]


@pytest.mark.parametrize("name", ["FOREBAY_REPLAY_MAX_EVENTS_PER_S", "FOREBAY_DEAD_LETTER_MAX_PER_S"])
def test_a_rate_of_none_at_all_stops_the_start_and_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{name} is above 0"):
        settings_with(monkeypatch, **{name: "0"})
