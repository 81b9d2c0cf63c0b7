"""Findings become incidents: opened once, ended after they have stayed away, each told of once on every channel."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest

from ingest.alerts.conditions import Finding
from ingest.alerts.incidents import incident_acknowledge, incidents_forget, incidents_update, open_counts
from ingest.alerts.kinds import Kind
from ingest.models import Incident, Notification

pytestmark = pytest.mark.django_db

AT = datetime(2030, 1, 1, tzinfo=UTC)
PARKED = Finding(Kind.TOPIC_PARKED, "audit of bolt", "denied, 5 events wait.")
FULL = Finding(Kind.BUFFER_FILLING, "journal of n1/7", "81 % of 2 GiB used.")


def evaluate(after_s: float, *found: Finding, unknown: Collection[Kind] = (), channels: bool = True) -> None:
    incidents_update(
        found=found,
        unknown=unknown,
        at=AT + timedelta(seconds=after_s),
        clear_s=60,
        channels=list(Notification.Channel) if channels else [],
    )


def told() -> list[tuple[str, str, str]]:
    rows = Notification.objects.order_by("pk").values_list("incident__kind", "event", "channel")
    return [(kind, event, channel) for kind, event, channel in rows]


def test_an_incident_opens_once_however_often_it_is_found() -> None:
    for after_s in (0, 10, 20):
        evaluate(after_s, PARKED)

    incident = Incident.objects.get()
    assert (incident.opened_at, incident.last_seen_at) == (AT, AT + timedelta(seconds=20))
    assert incident.severity == "ticket"
    assert told() == [("topic_parked", "opened", "webhook"), ("topic_parked", "opened", "email")]


def test_the_value_is_the_one_seen_last() -> None:
    evaluate(0, PARKED)

    evaluate(10, Finding(Kind.TOPIC_PARKED, "audit of bolt", "denied, 900 events wait."))

    assert Incident.objects.get().value == "denied, 900 events wait."


def test_an_incident_ends_when_it_has_stayed_away_long_enough() -> None:
    evaluate(0, FULL)
    evaluate(10)
    evaluate(60)
    before = Incident.objects.get().ended_at

    evaluate(70)

    assert before is None
    assert Incident.objects.get().ended_at == AT + timedelta(seconds=70)
    assert [event for _, event, channel in told() if channel == "webhook"] == ["opened", "ended"]
    assert [event for _, event, channel in told() if channel == "email"] == ["opened", "ended"]


def test_flapping_stays_one_incident_and_tells_once() -> None:
    for after_s in range(0, 600, 20):
        evaluate(after_s, FULL)
        evaluate(after_s + 10)

    assert Incident.objects.count() == 1
    assert len(told()) == 2


def test_what_comes_back_after_its_end_is_a_new_incident() -> None:
    evaluate(0, FULL)
    evaluate(10)
    evaluate(70)

    evaluate(80, FULL)

    assert [incident.ended_at is None for incident in Incident.objects.order_by("pk")] == [False, True]
    assert [event for _, event, channel in told() if channel == "webhook"] == ["opened", "ended", "opened"]


def test_what_cannot_be_seen_neither_ends_nor_counts_as_clear() -> None:
    evaluate(0, FULL)
    evaluate(10)
    evaluate(20, unknown=[Kind.BUFFER_FILLING])
    evaluate(200)

    assert Incident.objects.get().ended_at is None
    assert Incident.objects.get().clear_since == AT + timedelta(seconds=200)


def test_subjects_of_one_kind_are_incidents_of_their_own() -> None:
    evaluate(0, FULL, Finding(Kind.BUFFER_FILLING, "journal of n2/9", "99 % of 2 GiB used."))

    assert open_counts() == {"buffer_filling": 2}


def test_without_channels_incidents_are_kept_and_nothing_is_to_be_sent() -> None:
    evaluate(0, FULL, channels=False)
    evaluate(10, channels=False)
    evaluate(70)

    assert Incident.objects.get().ended_at is not None
    assert told() == []


def test_an_end_is_told_where_the_beginning_was() -> None:
    evaluate(0, FULL)
    Notification.objects.filter(channel="email").delete()

    evaluate(10)
    evaluate(70)

    assert told() == [("buffer_filling", "opened", "webhook"), ("buffer_filling", "ended", "webhook")]


def test_the_first_who_acknowledges_is_kept() -> None:
    evaluate(0, FULL)
    incident = Incident.objects.get()

    first = incident_acknowledge(incident=incident, by="ann", at=AT)
    second = incident_acknowledge(incident=incident, by="ben", at=AT)

    assert (first, second, Incident.objects.get().acknowledged_by) == (True, False, "ann")


def test_only_what_ended_long_ago_is_forgotten() -> None:
    evaluate(0, FULL, PARKED)
    evaluate(10, PARKED)
    evaluate(70, PARKED)

    forgotten = incidents_forget(ended_before=AT + timedelta(days=1))

    assert forgotten == 1
    assert [incident.kind for incident in Incident.objects.all()] == ["topic_parked"]


def test_a_subject_of_any_length_fits() -> None:
    long = Finding(Kind.TOPIC_PARKED, "t" * 1_000, "v" * 1_000)

    evaluate(0, long)
    evaluate(10, long)

    assert Incident.objects.count() == 1
