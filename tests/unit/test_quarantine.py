"""Rejected events are kept as the plan says, within bounds, and nobody waits or fails for it."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from prometheus_client import REGISTRY
from pytest_django import Settings

from ingest.dataplane import documents
from ingest.dataplane.errors import EventRejected
from ingest.models import QuarantinedEvent
from ingest.quarantine import TEXT_MAX_CHARACTERS, Quarantine, Rejection
from ingest.tasks import delete_old_quarantined
from tenants import services
from tenants.models import AuditEntry, Plan
from tests.programs import poll_until

WALL_S = 1_790_000_000.0
LOUD = EventRejected("unknown_level", "level 'bob@example.com' is none of TRACE, DEBUG")


class Sink:
    """Where the rows go; it can wait, and fail, when the test says so."""

    def __init__(self) -> None:
        self.rows: list[QuarantinedEvent] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.failures: list[Exception] = []

    def write(self, rows: list[QuarantinedEvent]) -> None:
        assert self.may_go_on.wait(10)
        if self.failures:
            raise self.failures.pop()
        self.rows += rows


class Clock:
    """Wall time that moves when the test says so."""

    def __init__(self) -> None:
        self.now_s = WALL_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quarantine(sink: Sink, clock: Clock) -> Iterator[Quarantine]:
    made = Quarantine(sink.write, events_per_minute=5, queue_max_bytes=1_000, wall_clock=clock)
    made.start()
    yield made
    sink.may_go_on.set()
    made.stop()


def rejection(
    body: bytes, *indexes: int, tenant: str = "acme", kept: str = "redacted", error: EventRejected = LOUD
) -> Rejection:
    return Rejection(tenant, kept, 7, "native", "c-1", body, documents.many, dict.fromkeys(indexes, error))


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("forebay_quarantine_dropped_events_total", {"reason": reason}) or 0.0


def test_a_redacted_event_is_kept_with_where_it_came_from(quarantine: Quarantine, sink: Sink) -> None:
    event = {"source": "shop", "level": "bob@example.com", "message": "m", "metadata": {"password": "hunter2"}}

    quarantine.offer(rejection(json.dumps([{}, event]).encode(), 1))
    quarantine.stop()

    (row,) = sink.rows
    assert (row.tenant, row.key_id, row.dialect, row.correlation_id) == ("acme", 7, "native", "c-1")
    assert (row.index, row.code, row.size_bytes) == (1, "unknown_level", len(json.dumps(event)))
    assert row.received_at == datetime.fromtimestamp(WALL_S, UTC)
    assert json.loads(row.text) == event | {"level": "[email]", "metadata": {"password": "[secret]"}}
    assert row.detail == "level '[email]' is none of TRACE, DEBUG"
    assert row.sha256 == ""


def test_of_a_hashed_event_nothing_that_was_in_it_is_kept(quarantine: Quarantine, sink: Sink) -> None:
    quarantine.offer(rejection(b'{"a":1}\n\n{"level":"bob@example.com"}\n', 1, kept="hash"))
    quarantine.stop()

    (row,) = sink.rows
    assert row.sha256 == hashlib.sha256(b'{"level":"bob@example.com"}').hexdigest()
    assert (row.text, row.detail, row.code) == ("", "", "unknown_level")


def test_only_the_rejected_events_of_a_body_are_kept(quarantine: Quarantine, sink: Sink) -> None:
    quarantine.offer(rejection(b"\n".join(b'{"n":%d}' % n for n in range(9)), 2, 7, 4))
    quarantine.stop()

    assert [(row.index, row.text) for row in sink.rows] == [(2, '{"n":2}'), (4, '{"n":4}'), (7, '{"n":7}')]


@pytest.mark.parametrize("beginning", [b"x" * (TEXT_MAX_CHARACTERS - 20), b"\xff" * (TEXT_MAX_CHARACTERS - 20)])
def test_a_text_is_cut_and_no_secret_across_the_cut_shows(sink: Sink, clock: Clock, beginning: bytes) -> None:
    quarantine = Quarantine(sink.write, events_per_minute=5, wall_clock=clock)
    quarantine.start()

    quarantine.offer(rejection(beginning + b' password="' + b"s" * 100_000 + b'"', 0))
    quarantine.stop()

    (row,) = sink.rows
    assert len(row.text) <= TEXT_MAX_CHARACTERS
    assert "sss" not in row.text
    assert row.size_bytes > 100_000


def test_bytes_that_no_database_takes_are_replaced(quarantine: Quarantine, sink: Sink) -> None:
    quarantine.offer(rejection(b'{"a":"\0\xff"}', 0))
    quarantine.stop()

    assert sink.rows[0].text == '{"a":"\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"}'


def test_a_tenant_has_its_share_of_each_minute(quarantine: Quarantine, sink: Sink, clock: Clock) -> None:
    before = dropped("rate")

    quarantine.offer(rejection(b"[0,1,2,3,4,5,6,7]", *range(8)))
    quarantine.offer(rejection(b"[8]", 0))
    quarantine.offer(rejection(b"[9]", 0, tenant="bolt"))
    clock.now_s += 60
    quarantine.offer(rejection(b"[10]", 0))
    quarantine.stop()

    assert [row.text for row in sink.rows] == ["0", "1", "2", "3", "4", "9", "10"]
    assert dropped("rate") == before + 4


def test_over_the_queues_bytes_nothing_is_kept_and_nobody_waits(quarantine: Quarantine, sink: Sink) -> None:
    before = dropped("queue_full")
    sink.may_go_on.clear()

    for tenant in ("a", "b", "c", "d"):  # the writer has taken at most one of them out of the queue
        quarantine.offer(rejection(b"x" * 400, 0, tenant=tenant))

    assert dropped("queue_full") >= before + 1
    sink.may_go_on.set()
    quarantine.stop()
    assert len(sink.rows) + dropped("queue_full") - before == 4


@pytest.mark.parametrize(("failure", "reason"), [(DatabaseError("away"), "database"), (ValueError("odd"), "failed")])
def test_what_cannot_be_written_is_counted_and_the_next_is_written(
    quarantine: Quarantine, sink: Sink, failure: Exception, reason: str
) -> None:
    before = dropped(reason)
    sink.failures = [failure]

    quarantine.offer(rejection(b"[1]", 0))
    quarantine.offer(rejection(b"[2]", 0))
    quarantine.stop()

    assert [row.text for row in sink.rows] == ["2"]
    assert dropped(reason) == before + 1


def test_events_are_written_without_waiting_for_the_end(quarantine: Quarantine, sink: Sink) -> None:
    quarantine.offer(rejection(b"[1]", 0))

    assert poll_until(lambda: bool(sink.rows), deadline_s=10)


# --- the table -------------------------------------------------------------------------------------------------------
@pytest.fixture
def add(db: None) -> Callable[..., QuarantinedEvent]:
    def added(tenant: str = "acme", *, age_days: float = 0.0, code: str = "unknown_level") -> QuarantinedEvent:
        return QuarantinedEvent.objects.create(
            tenant=tenant,
            key_id=7,
            received_at=timezone.now() - timedelta(days=age_days),
            dialect="native",
            correlation_id="c-1",
            index=0,
            code=code,
            size_bytes=12,
            text=f"what {tenant} sent",
            detail=f"why {tenant} was told no",
        )

    return added


def test_what_is_older_than_the_retention_is_deleted(add: Callable[..., QuarantinedEvent], settings: Settings) -> None:
    settings.FOREBAY_QUARANTINE_RETENTION_DAYS = 2
    young = add(age_days=1.9)
    for age_days in (2.1, 30):
        add(age_days=age_days)

    deleted = delete_old_quarantined()

    assert deleted == 2
    assert list(QuarantinedEvent.objects.all()) == [young]


@pytest.fixture
def console(db: None, client: Client, settings: Settings, tmp_path: Path) -> Client:
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    client.force_login(get_user_model().objects.create_superuser("operator"))
    return client


def test_an_operator_filters_by_tenant_and_code(console: Client, add: Callable[..., QuarantinedEvent]) -> None:
    services.tenant_create(
        name="acme", plan=Plan.objects.create(name="keeping", quarantine="redacted").name, by="tests"
    )
    add("acme")
    add("bolt")
    page = reverse("admin:ingest_quarantinedevent_changelist")

    everything = console.get(page).content.decode()
    acmes = console.get(page, {"tenant": "acme", "code": "unknown_level"}).content.decode()
    none = console.get(page, {"tenant": "acme", "code": "missing_field"}).content.decode()

    assert "why acme was told no" in everything
    assert "why bolt was told no" in everything
    assert "why acme was told no" in acmes
    assert "why bolt" not in acmes
    assert "why acme" not in none


def test_an_operator_reads_an_event_and_cannot_change_it(console: Client, add: Callable[..., QuarantinedEvent]) -> None:
    event = add("acme")
    page = reverse("admin:ingest_quarantinedevent_change", args=[event.pk])

    shown = console.get(page)
    changed = console.post(page, {"text": "something else"})

    assert "what acme sent" in shown.content.decode()
    assert changed.status_code == 403
    event.refresh_from_db()
    assert event.text == "what acme sent"


def test_events_are_deleted_with_a_reason_and_the_audit_log_says_nothing_of_what_they_said(
    console: Client, add: Callable[..., QuarantinedEvent]
) -> None:
    add("acme")
    add("acme", age_days=1)
    kept = add("bolt")
    page = reverse("admin:ingest_quarantinedevent_delete")

    asked = console.get(f"{page}?all=1&tenant=acme").content.decode()
    without = console.post(f"{page}?all=1&tenant=acme", {"reason": " "}).content.decode()
    before = QuarantinedEvent.objects.count()
    console.post(f"{page}?all=1&tenant=acme", {"reason": "asked for by acme"})

    assert "Delete 2 rejected events" in asked
    assert "This field is required" in without
    assert before == 3
    assert list(QuarantinedEvent.objects.all()) == [kept]
    line = AuditEntry.objects.get(action="quarantine.delete")
    assert (line.by, line.target, line.reason) == ("operator", "2 rejected events", "asked for by acme")
    assert line.before == {"events": 2, "which": "tenant acme"}


@pytest.mark.parametrize("query", ["", "all=1", "tenant=acme", "event=x", "all=1&code=none"])
def test_who_chose_nothing_deletes_nothing(console: Client, add: Callable[..., QuarantinedEvent], query: str) -> None:
    add("acme")

    answer = console.post(f"{reverse('admin:ingest_quarantinedevent_delete')}?{query}", {"reason": "oops"})

    assert answer.status_code == 302
    assert QuarantinedEvent.objects.count() == 1


def test_the_pages_of_rejected_events_lead_through_all_of_them(
    console: Client, add: Callable[..., QuarantinedEvent]
) -> None:
    first = add("acme")
    QuarantinedEvent.objects.bulk_create(
        QuarantinedEvent(tenant="acme", key_id=1, received_at=first.received_at, index=0, size_bytes=1, code="x")
        for _ in range(50)
    )
    page = reverse("admin:ingest_quarantinedevent_changelist")

    newest = console.get(page, {"tenant": "acme"}).content.decode()
    _, _, rest = newest.partition("?tenant=acme&amp;before=")
    oldest = console.get(page, {"tenant": "acme", "before": rest.partition('"')[0]}).content.decode()

    assert f"/{first.pk}/change/" not in newest
    assert f"/{first.pk}/change/" in oldest
    assert "before=" not in oldest


def test_a_filter_of_rejected_events_that_is_none_says_so(console: Client) -> None:
    answer = console.get(reverse("admin:ingest_quarantinedevent_changelist"), {"received_from": "yesterday"})

    assert answer.status_code == 400
    assert "Enter a valid date/time" in answer.content.decode()
