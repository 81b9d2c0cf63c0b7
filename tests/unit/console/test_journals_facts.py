"""What the journals' page says of workers, tenants and files, and what to do about each."""

from datetime import UTC, datetime

import pytest

from ingest.console.journals_facts import advice_about_lost, aside_rows, behind_rows, tenant_rows, worker_rows
from ingest.dataplane.breaker import State
from ingest.journal_reports import FileReport, FlowReport, JournalReport, TenantReport
from tests.unit.console.breaker_world import (
    GIB,
    MINUTE,
    NOW_WALL_MS,
    TOO_SMALL,
    Platform,
    journals,
    parked,
    standing,
    worker,
)


def test_a_worker_is_told_with_what_it_holds_and_for_how_long() -> None:
    own = JournalReport("5f2f2ca5", 4096, 50, 30, MINUTE - 3)
    platform = Platform(
        heard=[worker(1, journal_used_bytes=GIB, journal_pending_events=30)], journals={"node-1/1": journals(own=own)}
    )

    (row,) = worker_rows(platform.look())

    assert (row.used_percent, row.unsettled, row.pending, row.oldest, row.fsync) == (50, 50, 30, "2 min", "interval")
    assert row.level == "fb-warn"


def test_the_missing_come_first_with_their_last_words() -> None:
    platform = Platform(
        heard=[worker(1)],
        missing=[worker(2, is_missing=True)],
        journals={"node-1/2": journals(own=JournalReport("9158", 4096, 7, 7, MINUTE))},
    )

    gone, there = worker_rows(platform.look())

    assert (gone.worker, gone.is_missing, gone.heard, gone.unsettled) == ("node-1/2", True, "5 min ago", 7)
    assert gone.advice.command == "FOREBAY_JOURNAL_DIR=/var/lib/forebay/journal manage.py journal drain"
    assert (there.is_missing, there.advice.text) == (False, "")


@pytest.mark.parametrize(
    ("facts", "command"),
    [
        ({"disk_free_bytes": 5 * GIB}, "manage.py journal list"),
        ({"journal_used_bytes": 2 * GIB}, "manage.py journal list"),
        ({"journal_pending_events": 5}, "manage.py journal show 5f2f2ca5"),
        ({}, ""),
    ],
)
def test_each_trouble_of_a_worker_has_its_command(facts: dict[str, int], command: str) -> None:
    platform = Platform(heard=[worker(1, **facts)], journals={"node-1/1": journals()})

    (row,) = worker_rows(platform.look())

    assert row.advice.command == command


def test_what_waits_for_a_topic_that_cannot_be_used_is_not_said_to_leave_by_itself() -> None:
    flow = FlowReport("acme", "pictures", 5, MINUTE)
    platform = Platform(
        heard=[worker(1, journal_pending_events=5)], journals={"node-1/1": journals(flow)}, unusable=[TOO_SMALL]
    )

    (row,) = worker_rows(platform.look())

    assert row.advice.text == (
        "Topic pictures cannot be used: it takes 2,000 bytes at a time, and a batch has up to 1,000,000. Raise its"
        " max.message.bytes, or lower FOREBAY_PRODUCER_BATCH_SIZE_BYTES on all nodes. Its events then leave."
    )


def test_who_has_parked_events_is_told_to_resume_them() -> None:
    flow = FlowReport("acme", "audit", 5, MINUTE, "TOPIC_AUTHORIZATION_FAILED")
    platform = Platform(heard=[worker(1, journal_pending_events=5)], journals={"node-1/1": journals(flow)})

    (row,) = worker_rows(platform.look())

    assert "resume" in row.advice.text


def test_tenants_are_told_by_their_bytes_with_their_part_of_what_they_may_take() -> None:
    platform = Platform(
        journals={
            "node-1/1": journals(tenants=[TenantReport("acme", GIB // 8, 300, MINUTE - 1)]),
            "node-1/2": journals(tenants=[TenantReport("bolt", GIB // 4, 500, None)]),
        }
    )

    first, second = tenant_rows(platform.look())

    assert (first.tenant, first.worker, first.share_percent, first.oldest) == ("bolt", "node-1/2", 100, "")
    assert (second.tenant, second.share_percent, second.events, second.oldest) == ("acme", 50, 300, "under a minute")


def test_a_tenant_is_told_apart_by_whether_it_is_over_its_share_waits_or_is_on_its_way() -> None:
    tenants = [
        TenantReport("over", GIB // 4, 3, None),
        TenantReport("waits", 20, 2, None),
        TenantReport("well", 1, 1, None),
    ]
    platform = Platform(journals={"node-1/1": journals(FlowReport("waits", "logs", 2, MINUTE), tenants=tenants)})

    over, waits, well = (row.advice.text for row in tenant_rows(platform.look()))

    assert "alone gets 503" in over
    assert "Who is behind" in waits
    assert well.startswith("Nothing")


RESUME = 'manage.py topic resume acme logs --reason "…"'


@pytest.mark.parametrize(
    ("platform", "text", "command"),
    [
        (Platform(parked=[parked("acme", "logs")]), "then let them go", RESUME),
        (
            Platform(standings=[standing("logs", State.FORCED_OPEN)]),
            "until it is reset",
            'manage.py breaker reset --topic logs --reason "…"',
        ),
        (
            Platform(standings=[standing("", State.FORCED_OPEN)]),
            "until it is reset",
            'manage.py breaker reset --reason "…"',
        ),
        (Platform(standings=[standing("", State.OPEN)]), "when the trials succeed", "manage.py breaker status"),
        (Platform(), "Create the topic", ""),
        (Platform(topics={"logs": 3}), "After an outage it passes", ""),
    ],
)
def test_who_is_behind_is_told_what_to_do_about_what_holds_them(platform: Platform, text: str, command: str) -> None:
    platform.journals = {"node-1/1": journals(FlowReport("acme", "logs", 5, MINUTE - 7))}

    (row,) = behind_rows(platform.look(), overdue_s=300)

    assert text in row.advice.text
    assert row.advice.command == command


def test_who_is_behind_for_a_moment_has_nothing_to_do_and_for_a_topic_that_cannot_be_used_has() -> None:
    flows = [FlowReport("acme", "logs", 9, MINUTE - 5), FlowReport("acme", "pictures", 5, MINUTE - 5)]
    platform = Platform(topics={"logs": 3}, unusable=[TOO_SMALL], journals={"node-1/1": journals(*flows)})

    for_a_moment, stuck = behind_rows(platform.look(), overdue_s=300)

    assert for_a_moment.advice.text == "Nothing: they leave by themselves."
    assert stuck.advice.text.startswith("Raise its max.message.bytes")


def test_a_file_that_was_set_aside_is_told_once_with_the_command_that_puts_it_in_line_again() -> None:
    file = FileReport("/var/lib/my journal/00.damaged", 4096, NOW_WALL_MS)
    platform = Platform(journals={"node-1/1": journals(files=[file]), "node-1/2": journals(files=[file])})

    (row,) = aside_rows(platform.look())

    assert (row.size_bytes, row.at) == (4096, datetime.fromtimestamp(NOW_WALL_MS / 1000, UTC))
    assert row.advice.command == "manage.py journal requeue '/var/lib/my journal/00.damaged'"


def test_a_journal_without_a_worker_may_be_taken_over_or_given_up() -> None:
    take_over, give_up = advice_about_lost("9158", "node-2", is_closed=False)

    assert "went away" in take_over.text
    assert take_over.command == "manage.py journal drain"
    assert give_up.command == 'manage.py ledger_check --give-up 9158 --reason "…"'
