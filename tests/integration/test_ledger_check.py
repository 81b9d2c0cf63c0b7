"""Whether the ledger adds up, asked over a real Redis and database; and what a tenant sees of it."""

import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import redis
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from ingest.api.usage import parse_window
from ingest.dataplane.faults import Fault
from ingest.dataplane.ledger import Account, Ending
from ingest.ledger.accounts import CHECK, decode_check
from ingest.ledger.copying import copy_all, derive
from ingest.ledger.hours import roll_up
from ingest.ledger.publisher import LedgerPublisher
from ingest.ledger.usage import usage
from ingest.models import DeadLetter, JournalState, LedgerHour, LedgerMinute, LetterStatus
from ingest.tasks.ledger import ledger_check
from tests.ledger_world import CountingJournal

pytestmark = pytest.mark.django_db
NOW_MINUTE = int(time.time()) // 60


@pytest.fixture
def client(empty_redis_url: str, settings: Settings) -> Iterator[redis.Redis]:
    settings.FOREBAY_REDIS_URL = empty_redis_url
    with redis.Redis.from_url(empty_redis_url) as client:
        yield client


@pytest.fixture
def journal() -> CountingJournal:
    """Acme has one event of each kind of end, and one that is pending; Bolt had some rejected."""
    journal = CountingJournal()
    journal.accept("acme", 6, minute=NOW_MINUTE, dropped=1, rejected=2)
    for ending in Ending:
        journal.settle("acme", 1, ending, minute=NOW_MINUTE)
    journal.settle("acme", 1, minute=NOW_MINUTE)
    journal.accept("bolt", 0, minute=NOW_MINUTE, rejected=3)
    return journal


@pytest.fixture
def letter() -> DeadLetter:
    now = timezone.now()
    return DeadLetter.objects.create(
        journal=CountingJournal().name,
        sequence=2,
        tenant="acme",
        event_id="1",
        topic="logs",
        value=b"{}",
        fault=Fault.RECORD,
        code="MSG_SIZE_TOO_LARGE",
        accepted_at=now,
        dead_at=now,
        retry_since=now,
        status=LetterStatus.EXHAUSTED,
    )


def check(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("ledger_check", "--json", *arguments, stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def wrong(*arguments: str) -> list[str]:
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("ledger_check", "--json", *arguments, stdout=out)
    mismatches: list[str] = json.loads(out.getvalue())["mismatches"]
    return mismatches


def test_a_ledger_that_adds_up_is_told_in_figures(
    client: redis.Redis, journal: CountingJournal, letter: DeadLetter
) -> None:
    LedgerPublisher(client, "node-1").publish([journal])

    answer = check()

    assert answer["balanced"]
    assert answer["totals"]["acme"] == {
        "received": 9,
        "accepted": 6,
        "rejected": 3,
        "delivered": 2,
        "dropped": 1,
        "dead_lettered": 1,
        "discarded": 1,
        "pending": 1,
    }
    assert answer["totals"]["bolt"]["rejected"] == 3


def test_the_table_for_people_names_every_tenant(
    client: redis.Redis, journal: CountingJournal, letter: DeadLetter
) -> None:
    LedgerPublisher(client, "node-1").publish([journal])
    out = io.StringIO()

    call_command("ledger_check", stdout=out)

    header, acme, bolt = out.getvalue().splitlines()
    assert header.split()[:4] == ["tenant", "received", "accepted", "rejected"]
    assert (acme.split()[0], bolt.split()[0]) == ("acme", "bolt")


def test_a_record_that_the_journal_has_and_the_ledger_has_not_is_found(
    client: redis.Redis, journal: CountingJournal, letter: DeadLetter
) -> None:
    journal.unsettled += 1
    LedgerPublisher(client, "node-1").publish([journal])

    (mismatch,) = wrong()

    assert f"journal {journal.name}: 1 events pending in the ledger, 2 unsettled in the journal" in mismatch


def test_a_dead_letter_that_somebody_removed_is_found(client: redis.Redis, journal: CountingJournal) -> None:
    LedgerPublisher(client, "node-1").publish([journal])

    (mismatch,) = wrong("--tenant", "acme")

    assert "1 events dead-lettered in the ledger, 0 in the table" in mismatch


def test_a_total_that_explains_nothing_is_found(client: redis.Redis) -> None:
    row = LedgerMinute(journal="j", tenant="acme", minute=NOW_MINUTE)
    derive(row, Account("acme", NOW_MINUTE, received=5, journaled=3, delivered=4))
    row.save()

    mismatches = wrong("--tenant", "acme")

    assert [text.partition(";")[0] for text in mismatches] == [
        "tenant acme: received differs from accepted + rejected by 2",
        "tenant acme: 1 more events ended than were accepted",
    ]


def test_a_worker_that_nobody_hears_of_is_named_until_its_journal_is_given_up(
    client: redis.Redis, journal: CountingJournal, letter: DeadLetter
) -> None:
    LedgerPublisher(client, "node-1", wall_s=lambda: time.time() - 3600).publish([journal])

    (mismatch,) = wrong()
    after = check("--give-up", journal.name, "--reason", "its disk burnt")

    assert "node node-1: 1 pending events and no worker for 36" in mismatch
    assert after["balanced"]
    assert (after["totals"]["acme"]["pending"], after["totals"]["acme"]["discarded"]) == (0, 2)


def test_a_journal_that_comes_back_after_it_was_given_up_counts_as_before(
    client: redis.Redis, journal: CountingJournal, letter: DeadLetter
) -> None:
    LedgerPublisher(client, "node-1", wall_s=lambda: time.time() - 3600).publish([journal])
    check("--give-up", journal.name, "--reason", "its disk burnt")
    journal.settle("acme", 1, minute=NOW_MINUTE)

    LedgerPublisher(client, "node-2").publish([journal.adopted()])
    answer = check()

    assert answer["balanced"]
    assert (answer["totals"]["acme"]["delivered"], answer["totals"]["acme"]["discarded"]) == (3, 1)


def test_a_journal_whose_worker_lives_cannot_be_given_up(client: redis.Redis, journal: CountingJournal) -> None:
    LedgerPublisher(client, "node-1").publish([journal])
    copy_all(client)

    with pytest.raises(CommandError, match="is not missing"):
        call_command("ledger_check", "--give-up", journal.name, "--reason", "tidying up")


def test_the_task_cries_only_when_the_same_is_wrong_three_times(
    client: redis.Redis, journal: CountingJournal, letter: DeadLetter
) -> None:
    journal.unsettled += 1
    LedgerPublisher(client, "node-1").publish([journal])

    cries = [len(ledger_check()) for _ in range(3)]

    left = decode_check(cast(bytes, client.get(CHECK)))
    assert cries == [0, 0, 1]
    assert (left.unbalanced_events, len(left.mismatches)) == (1, 1)


def test_the_task_cries_about_an_account_that_explains_less_and_less(client: redis.Redis) -> None:
    cries = []
    for lost in range(1, 4):
        row, _ = LedgerMinute.objects.get_or_create(journal="j", tenant="acme", minute=NOW_MINUTE)
        derive(row, Account("acme", NOW_MINUTE, received=lost))
        row.save()
        cries.append(len(ledger_check()))

    left = decode_check(cast(bytes, client.get(CHECK)))
    assert cries == [0, 0, 1]
    assert left.unbalanced_events == 3


def hour(client: redis.Redis, tenant: str = "acme") -> dict[str, Any]:
    return usage(client, tenant, parse_window("step=minute", time.time()))


def test_usage_shows_what_no_task_has_copied_yet(
    client: redis.Redis, journal: CountingJournal, letter: DeadLetter
) -> None:
    publisher = LedgerPublisher(client, "node-1")
    publisher.publish([journal])
    copy_all(client)
    journal.settle("acme", 1, minute=NOW_MINUTE)
    publisher.publish([journal])

    answer = hour(client)

    assert answer["total"] == {
        "received": 9,
        "accepted": 6,
        "rejected": {"unknown_level": 2, "undeliverable": 1},
        "delivered": 3,
        "dropped": {"noise": 1},
        "dead_lettered": {"total": 1, "waiting": 1, "replayed": 0, "discarded": 0, "no_longer_kept": 0},
        "discarded": {"operator": 1},
        "pending": 0,
    }
    assert [step["received"] for step in answer["steps"]] == [9]
    assert answer["pending_without_worker"] == []


def test_usage_is_the_same_before_and_after_the_copy(client: redis.Redis, journal: CountingJournal) -> None:
    LedgerPublisher(client, "node-1").publish([journal])

    before = hour(client)["total"]
    copy_all(client)
    after = hour(client)["total"]

    assert before == after


def test_usage_shows_nothing_of_another_tenant(client: redis.Redis, journal: CountingJournal) -> None:
    LedgerPublisher(client, "node-1").publish([journal])

    answer = hour(client, "crux")

    assert answer["total"]["received"] == 0
    assert answer["steps"] == []


def test_usage_shows_how_long_a_worker_has_been_missing(
    client: redis.Redis, journal: CountingJournal, letter: DeadLetter
) -> None:
    LedgerPublisher(client, "node-1", wall_s=lambda: time.time() - 600).publish([journal])
    copy_all(client)

    (missing,) = hour(client)["pending_without_worker"]

    assert missing["pending"] == 1
    assert 595 < missing["for_s"] < 605


def test_usage_without_redis_is_that_of_the_last_copy_and_says_when(
    client: redis.Redis, journal: CountingJournal
) -> None:
    LedgerPublisher(client, "node-1", wall_s=lambda: time.time() - 600).publish([journal])
    copy_all(client)

    with redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.1) as away:
        answer = hour(away)

    age = datetime.now(UTC) - datetime.fromisoformat(answer["as_of"])
    assert timedelta(seconds=599) < age < timedelta(seconds=605)
    assert answer["total"]["received"] == 9


def test_old_minutes_become_hours_and_the_figures_stay(
    client: redis.Redis, journal: CountingJournal, settings: Settings
) -> None:
    settings.FOREBAY_LEDGER_MINUTES_KEPT_DAYS = 0
    past, old_minute = CountingJournal("another"), (NOW_MINUTE // 60 - 2) * 60
    for minute in (old_minute, old_minute + 59, old_minute + 60):
        past.accept("acme", 2, minute=minute, rejected=1)
        past.settle("acme", 2, minute=minute)
    publisher = LedgerPublisher(client, "node-1")
    for _ in range(3):  # told, confirmed, told that it is
        publisher.publish([past, journal], adopted={"another"})
        copy_all(client)
    before = usage(client, "acme", parse_window("step=hour", time.time()))

    merged = roll_up(budget_s=5)
    LedgerPublisher(client, "node-2").publish([past.adopted(), journal])
    copy_all(client)
    after = usage(client, "acme", parse_window("step=hour", time.time()))

    assert merged == 3
    assert list(LedgerHour.objects.order_by("minute").values_list("received", flat=True)) == [6, 3]
    assert not LedgerMinute.objects.filter(journal="another").exists()
    assert before["total"] == after["total"]
    assert before["steps"] == after["steps"]


def test_what_a_roll_up_has_no_time_for_stays_for_the_next(client: redis.Redis, settings: Settings) -> None:
    settings.FOREBAY_LEDGER_MINUTES_KEPT_DAYS = 0
    journal = CountingJournal()
    journal.accept("acme", 2, minute=NOW_MINUTE - 120)
    journal.settle("acme", 2, minute=NOW_MINUTE - 120)
    LedgerPublisher(client, "node-1").leave([journal])
    copy_all(client)
    JournalState.objects.update(finished_at=timezone.now())

    merged = roll_up(budget_s=0), roll_up(budget_s=5)

    assert merged == (0, 1)


def test_a_minute_that_its_journal_still_tells_of_is_not_merged(client: redis.Redis, settings: Settings) -> None:
    settings.FOREBAY_LEDGER_MINUTES_KEPT_DAYS = 0
    journal = CountingJournal()
    journal.accept("acme", 2, minute=NOW_MINUTE - 120)
    LedgerPublisher(client, "node-1").publish([journal])
    copy_all(client)

    merged = roll_up(budget_s=5)

    assert merged == 0
    assert JournalState.objects.get().rolled_up_to_minute == 0
