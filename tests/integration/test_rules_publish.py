"""Two people who publish at the same moment: PostgreSQL lets one of them, and the other is told."""

import threading

import pytest
from django.db import connection, connections, transaction

from ingest.models import RuleSet
from ingest.rule_sets import RulesRefused, rules_publish
from tests.programs import poll_until
from tests.unit.rules.world import draft

pytestmark = pytest.mark.django_db(transaction=True)


def waits_for_a_lock() -> bool:
    """Whether anybody does; who is active is read once a transaction only, locks are read anew."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_one_of_two_who_publish_at_once_is_refused(postgres_url: str) -> None:
    draft("payments")
    told: list[str] = []

    def publish() -> None:
        try:
            rules_publish(by="bob", reason="mine", base_number=0)
        except RulesRefused as refused:
            told.append(str(refused))
        finally:
            connections.close_all()

    other = threading.Thread(target=publish)
    with transaction.atomic():
        RuleSet.objects.create(number=1, rules=[], by="carol", reason="mine")
        other.start()
        waited = poll_until(waits_for_a_lock, 20)
    other.join(20)

    assert waited
    assert told == ["Somebody else has published at this very moment: look at what is live now."]
    assert [one.by for one in RuleSet.objects.all()] == ["carol"]
