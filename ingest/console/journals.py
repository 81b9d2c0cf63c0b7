"""Journals: what waits in them, for how long and whose it is, which files were set aside, and what to do about each."""

from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render as render_part
from django.utils import timezone

from ingest.alerts.kinds import Kind
from ingest.console.ages import age_in_words
from ingest.console.breakers_look import look_now
from ingest.console.journals_facts import Advice, advice_about_lost, aside_rows, behind_rows, tenant_rows, worker_rows
from ingest.console.open_alerts import open_alerts
from ingest.console.pages import console_page, render
from ingest.console.runbook import runbook_of
from ingest.models import JournalState

PERMISSION = "ingest.view_journalstate"
SHOWN = 100
_ALERTS = (
    *(Kind.BUFFER_FILLING, Kind.DISK_FILLING, Kind.JOURNAL_DAMAGED, Kind.WORKER_MISSING),
    *(Kind.LEDGER_MISMATCH, Kind.TOPIC_BEHIND, Kind.REDIS_AWAY),
)


class LostRow(NamedTuple):
    """A journal of which no worker is heard."""

    state: JournalState
    unheard: str
    advice: list[Advice]


@console_page(PERMISSION)
def journals(request: HttpRequest) -> HttpResponse:
    """The whole page, complete without a script."""
    return render(request, "console/journals.html", "Journals", **_now())


@console_page(PERMISSION)
def journals_live(request: HttpRequest) -> HttpResponse:
    """What htmx swaps in every five seconds."""
    return render_part(request, "console/journals_live.html", _now())


def _now() -> dict[str, Any]:
    look = look_now()
    overdue_s = settings.FOREBAY_ALERT_BACKLOG_AGE_S
    tenants, behind = (tenant_rows(look), behind_rows(look, overdue_s)) if look else ([], [])
    return {
        "look": look,
        "as_of": timezone.now(),
        "alerts": open_alerts(_ALERTS),
        "workers": worker_rows(look) if look else [],
        "tenants": tenants[:SHOWN],
        "behind": behind[:SHOWN],
        "more_behind": max(0, len(behind) - SHOWN) + (look.untold_flows if look else 0),
        "aside": aside_rows(look) if look else [],
        "lost": lost_rows(),
        "known": [] if look else _known_rows(),
        "runbook": runbook_of(Kind.REDIS_AWAY),
    }


def _known_rows() -> list[JournalState]:
    """What the database heard last, while no worker can be asked: those with most in them first."""
    return list(JournalState.objects.filter(finished_at=None).order_by("-unsettled")[:SHOWN])


def lost_rows() -> list[LostRow]:
    """Those that `ingest.ledger.lost.is_missing` means, as the database finds them; the longest unheard first."""
    now = timezone.now()
    unheard_since = now - timedelta(seconds=float(settings.FOREBAY_JOURNAL_MISSING_AFTER_S))
    found = JournalState.objects.filter(finished_at=None, seen_at__lt=unheard_since)
    return [
        LostRow(
            state,
            age_in_words((now - state.seen_at).total_seconds()),
            list(advice_about_lost(state.journal, state.node, is_closed=state.is_closed)),
        )
        for state in found.exclude(Q(is_closed=True) & Q(unsettled=0)).order_by("seen_at")[:SHOWN]
    ]
