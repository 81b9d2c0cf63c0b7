"""The ledger's pages in the console: to be read, and by nobody to be written."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from ingest.dataplane.ledger import Account
from ingest.ledger.copying import keep
from ingest.models import JournalState, LedgerHour
from tests.ledger_world import MINUTE

pytestmark = pytest.mark.django_db


@pytest.fixture
def console(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("admin"))
    return client


def test_a_minute_shows_what_became_of_its_events(console: Client) -> None:
    keep("a-journal", [Account("acme", MINUTE, 9_012, 9_010, 1, 3, 0, {"unknown_level": 2}, {"noise": 2})])

    page = console.get("/admin/ingest/ledgerminute/").content.decode()

    assert f"{datetime.fromtimestamp(MINUTE * 60, UTC):%Y-%m-%d %H:%M}" in page
    assert [
        bool(re.search(rf'field-{name}[" ][^>]*>\s*<span class="fb-figure">{count}</span>', page))
        for name, count in (("accepted", "9,009"), ("rejected", 3), ("pending", "9,004"))
    ] == [
        True,
        True,
        True,
    ]


def test_a_journal_without_a_worker_is_told_from_one_that_waits_for_its_next(console: Client) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    JournalState.objects.create(journal="killed", node="node-1", unsettled=3, seen_at=long_ago)
    JournalState.objects.create(journal="stopped", node="node-2", is_closed=True, seen_at=long_ago)

    page = console.get("/admin/ingest/journalstate/").content.decode()

    assert "worker missing" in page
    assert "waits for a worker" in page


@pytest.mark.parametrize("page", ["ledgerminute", "ledgerhour", "journalstate"])
def test_nobody_writes_the_ledger_by_hand(console: Client, page: str) -> None:
    answer = console.get(f"/admin/ingest/{page}/add/")

    assert answer.status_code == 403


def test_an_hour_opens(console: Client) -> None:
    hour = LedgerHour.objects.create(tenant="acme", minute=MINUTE, received=5)

    answer = console.get(f"/admin/ingest/ledgerhour/{hour.pk}/change/")

    assert answer.status_code == 200
