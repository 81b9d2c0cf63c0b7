"""A dead letter says which version routed it, and what the rule was called then."""

import pytest

from ingest.dead_letters.keeping import letters_keep
from ingest.models import DeadLetter
from tests.unit.dead_letters.world import undeliverable
from tests.unit.rules.world import draft, publish

pytestmark = pytest.mark.django_db


def test_a_rule_that_was_renamed_or_deleted_since_has_the_name_it_had() -> None:
    rule = draft("payments")
    pk = rule.pk
    publish()
    rule.delete()

    letters_keep(batch=[undeliverable(1, policy_version=1, record=("payments", 0, b"k", b"{}", pk))])

    assert DeadLetter.objects.get().rule_name == "payments"


def test_the_default_needs_no_version() -> None:
    letters_keep(batch=[undeliverable(1, policy_version=0, record=("logs", 0, b"k", b"{}", 0))])

    assert DeadLetter.objects.get().rule_name == "default"
