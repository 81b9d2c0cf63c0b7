"""What the data plane could not deliver becomes rows, once, whoever offers it and however often."""

import json

import pytest

from ingest.dataplane.faults import Fault
from ingest.dataplane.undeliverable import DeliveryAttempt
from ingest.dead_letters.keeping import letters_keep
from ingest.models import DeadLetter, DeadLetterAttempt, LetterStatus, RoutingRule
from tests.unit.dead_letters.world import ACCEPTED_MS, JOURNAL, event, undeliverable

pytestmark = pytest.mark.django_db


def test_a_kept_letter_has_everything_that_an_operator_asks_for() -> None:
    rule = RoutingRule.objects.create(name="payments", topic="payments", key=["source"])
    value = json.dumps(event("order-17")).encode()

    letters_keep(batch=[undeliverable(5, record=("payments", 2, b"checkout", value, rule.pk))])

    kept = DeadLetter.objects.get()
    assert (kept.journal, kept.sequence, kept.tenant, kept.event_id) == (JOURNAL, 5, "acme", "order-17")
    assert (kept.rule_id, kept.rule_name, kept.policy_version) == (rule.pk, "payments", 7)
    assert (kept.topic, kept.partition, bytes(kept.key), bytes(kept.value)) == ("payments", 2, b"checkout", value)
    assert (kept.fault, kept.code) == ("record", "MSG_SIZE_TOO_LARGE")
    assert round(kept.accepted_at.timestamp() * 1000) == ACCEPTED_MS
    assert [(one.code, one.by, one.result) for one in kept.attempts.all()] == [
        ("MSG_SIZE_TOO_LARGE", "worker", "failed")
    ]


def test_what_is_offered_again_is_kept_once() -> None:
    first = letters_keep(batch=[undeliverable(number) for number in range(3)])

    again = letters_keep(batch=[undeliverable(number) for number in range(5)])

    assert (first, again) == (3, 2)
    assert sorted(DeadLetter.objects.values_list("sequence", flat=True)) == [0, 1, 2, 3, 4]
    assert DeadLetterAttempt.objects.count() == 5


def test_the_same_number_in_another_journal_is_another_letter() -> None:
    letters_keep(batch=[undeliverable(1), undeliverable(1, journal="another")])

    assert DeadLetter.objects.count() == 2


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.CLUSTER, LetterStatus.WAITING),
        (Fault.TOPIC, LetterStatus.WAITING),
        (Fault.RECORD, LetterStatus.EXHAUSTED),
    ],
)
def test_only_what_may_get_better_by_itself_waits_for_a_retry(fault: Fault, status: LetterStatus) -> None:
    letters_keep(batch=[undeliverable(fault=fault)])

    kept = DeadLetter.objects.get()
    assert kept.status == status
    assert (kept.next_attempt_at is None) == (status == LetterStatus.EXHAUSTED)


def test_nothing_in_an_event_keeps_it_from_being_kept() -> None:
    strange = json.dumps(event("nul-\0-and-long" * 20)).encode()
    attempt = DeliveryAttempt(ACCEPTED_MS, "C" * 100, "\0" * 1000)

    letters_keep(
        batch=[
            undeliverable(0, record=("logs", -1, b"\xff\0", b"\xffno json", 99), attempts=()),
            undeliverable(1, record=("logs", -1, b"", strange, 0), attempts=(attempt,)),
        ]
    )

    kept = {letter.sequence: letter for letter in DeadLetter.objects.all()}
    assert (kept[0].event_id, kept[0].rule_name, kept[0].document) == ("", "", None)
    assert "\0" not in kept[1].event_id + kept[1].detail
