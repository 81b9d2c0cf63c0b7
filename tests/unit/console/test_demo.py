"""What the demo makes, and makes only once; and that it leaves the work of others alone."""

import random
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ingest.demo import cast, operators
from ingest.demo.traffic import event
from ingest.models import BulkReplay, Override, RoutingRule, RuleSet
from ingest.rules.known_topics import KnownTopics
from ingest.rules.warnings import warnings_of
from tenants.models import ApiKey, AuditEntry, Plan, Tenant
from tests.unit.dead_letters.world import letter

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var_dir(tmp_path: Path, settings: Settings) -> None:
    settings.FOREBAY_VAR_DIR = tmp_path


def test_three_tenants_get_keys_which_the_next_run_finds_again() -> None:
    first = cast.keys_ensure()
    again = cast.keys_ensure()

    assert first == again
    assert list(Tenant.objects.filter(name__startswith="demo-").values_list("name", "plan__name")) == [
        ("demo-edge", "agent"),
        ("demo-shop", "standard"),
        ("demo-small", "demo-small"),
    ]
    assert ApiKey.objects.count() == 3
    assert Plan.objects.get(name="demo-small").events_per_s == cast.SMALL_EVENTS_PER_S
    assert cast.keys_path().stat().st_mode & 0o077 == 0


def test_a_revoked_or_lost_key_is_issued_anew() -> None:
    first = cast.keys_ensure()
    ApiKey.objects.get(tenant__name="demo-shop").delete()

    again = cast.keys_ensure()

    assert first["demo-shop"] != again["demo-shop"]
    assert first["demo-edge"] == again["demo-edge"]


def test_its_rules_are_published_once_for_its_tenants_alone_and_leave_lines_in_the_audit_log() -> None:
    cast.keys_ensure()
    assert cast.rules_ensure() is None
    assert cast.rules_ensure() is None

    first, second = RuleSet.objects.order_by("number")
    theirs = ["demo-edge", "demo-shop", "demo-small"]
    assert {rule["name"]: rule["tenants"] for rule in first.rules} == {
        "demo-payments": theirs,
        "demo-pictures": theirs,
        "demo-noise": theirs,
    }
    assert [rule["name"] for rule in second.rules if rule not in first.rules] == ["demo-refunds"]
    assert [warning.rule["name"] for warning in warnings_of(second.rules, KnownTopics({}, False))][-2:] == [
        "demo-refunds",
        "demo-refunds",
    ]
    assert set(AuditEntry.objects.values_list("by", flat=True)) == {cast.BY}


def test_what_operators_do_is_done_once_and_can_be_undone(settings: Settings) -> None:
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"  # where the state before it is asked for
    cast.keys_ensure()
    for _ in range(2):
        operators.park()
    operators.force_open()
    operators.reset()
    nothing_died = operators.plan_bulk_replay()
    letter(topic="demo-pictures")
    planned = [operators.plan_bulk_replay() for _ in range(2)]
    for _ in range(2):
        operators.resume()

    kinds = list(Override.objects.order_by("pk").values_list("kind", "tenant"))
    assert kinds == [("PARKED", "demo-edge"), ("FORCED_OPEN", ""), ("RESET", ""), ("RESUMED", "demo-edge")]
    assert (nothing_died, planned) == (False, [True, True])
    assert [bulk.planned_events for bulk in BulkReplay.objects.all()] == [1]


def test_rules_for_everybody_are_never_made_for_want_of_its_tenants() -> None:
    with pytest.raises(Tenant.DoesNotExist):
        cast.rules_ensure()

    assert not RuleSet.objects.exists()


def test_a_draft_that_somebody_works_on_is_not_published_for_them() -> None:
    RoutingRule.objects.create(name="half-done", topic="logs")

    refused = cast.rules_ensure()

    assert refused is not None
    assert "not published" in refused
    assert not RuleSet.objects.exists()
    assert list(RoutingRule.objects.values_list("name", flat=True)) == ["half-done"]


def test_a_tenth_of_the_events_is_bad_and_some_pictures_are_too_large_for_their_topic() -> None:
    random_ = random.Random(7)

    made = [event(random_) for _ in range(5_000)]

    bad = [one for one in made if "metadata" not in one]
    large = [one for one in made if len(str(one.get("message", ""))) > 6_000]
    assert 400 < len(bad) < 600
    assert large
    assert {one["source"] for one in large} == {"thumbnails"}


def test_without_a_platform_it_says_how_to_start_one() -> None:
    with pytest.raises(CommandError, match="make up"):
        call_command("demo", url="http://127.0.0.1:1")

    assert not Tenant.objects.filter(name__startswith="demo-").exists()
