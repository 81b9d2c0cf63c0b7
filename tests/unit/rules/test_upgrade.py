"""An upgrade leaves what is live live: rules from before there were versions become version 1."""

from importlib import import_module

import pytest
from django.apps import apps

from ingest import rule_sets
from ingest.models import RuleSet
from tenants.models import Tenant
from tests.unit.rules.world import draft, publish

pytestmark = pytest.mark.django_db

migration = import_module("ingest.migrations.0010_rule_sets")


def test_rules_that_were_live_are_published_as_they_are(acme: Tenant) -> None:
    draft("second", position=20)
    draft("first", acme, position=10, levels=["ERROR"], keep_ratio=0.5)
    draft("off", position=30, enabled=False)

    migration.publish(apps, None)

    made = RuleSet.objects.get()
    assert (made.number, made.by) == (1, "upgrade")
    assert [rule["name"] for rule in made.rules] == ["first", "second", "off"]
    assert made.rules == rule_sets.draft_rules()


def test_without_rules_there_is_no_version() -> None:
    migration.publish(apps, None)

    assert not RuleSet.objects.exists()


def test_versions_that_are_there_stay_alone() -> None:
    draft("first")
    publish()
    draft("second")

    migration.publish(apps, None)

    assert RuleSet.objects.count() == 1
