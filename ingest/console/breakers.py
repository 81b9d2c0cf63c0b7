"""Breakers and topics: where they stand, what moved them, who waits, and an operator's word about them."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render as render_part
from django.utils import timezone

from ingest.alerts.kinds import Kind
from ingest.console.breakers_facts import breaker_facts
from ingest.console.breakers_look import Look, look_now
from ingest.console.breakers_moves import Move, last_moves, moves_since
from ingest.console.breakers_timeline import Timeline, span_of, timeline
from ingest.console.breakers_topics import topic_rows, waiting_of
from ingest.console.breakers_words import newest_word, taken
from ingest.console.open_alerts import open_alerts
from ingest.console.pages import console_page, render
from ingest.dataplane.breaker import State
from ingest.models import Override

PERMISSION = "ingest.view_override"
MOVES_SHOWN, WORDS_SHOWN, TIMELINES_SHOWN = 20, 5, 12
TOPICS_SHOWN = WAITING_SHOWN = 100
_ALERTS = (Kind.BREAKER_NOT_CLOSED, Kind.TOPIC_PARKED, Kind.TOPIC_BEHIND, Kind.REDIS_AWAY)


@console_page(PERMISSION)
def breakers(request: HttpRequest) -> HttpResponse:
    """The whole page, complete without a script."""
    return render(request, "console/breakers.html", "Breakers and topics", **_now(request))


@console_page(PERMISSION)
def breakers_live(request: HttpRequest) -> HttpResponse:
    """What htmx swaps in every five seconds."""
    return render_part(request, "console/breakers_live.html", _now(request))


def _now(request: HttpRequest) -> dict[str, Any]:
    look, asked = look_now(), request.GET.get("q", "").strip()
    rows, waiting = (topic_rows(look, asked), waiting_of(look)) if look else ([], [])
    return {
        "look": look,
        "asked": asked,
        "as_of": timezone.now(),
        "alerts": open_alerts(_ALERTS),
        "taken": taken(look, newest_word()),
        "cluster": breaker_facts(look, "") if look else None,
        "rows": rows[:TOPICS_SHOWN],
        "more_rows": len(rows) - TOPICS_SHOWN,
        "waiting": waiting[:WAITING_SHOWN],
        "more_waiting": max(0, len(waiting) - WAITING_SHOWN) + (look.untold_flows if look else 0),
        "words": Override.objects.all()[:WORDS_SHOWN],
        **history(request, look),
    }


def history(request: HttpRequest, look: Look | None, topic: str | None = None) -> dict[str, Any]:
    """The moves of all breakers, or of one: as bars over the span that was asked for, and the last ones as a list."""
    span, length = span_of(request.GET.get("span"))
    fresh = look.fresh if look else ()
    now = timezone.now()
    moves = moves_since(now - length, fresh, topic)
    return {
        "span": span,
        "moves": last_moves(fresh, MOVES_SHOWN, topic),
        "timelines": _timelines(look, moves, topic, length),
        "begins": now - length,
        "ends": now,
    }


def _timelines(look: Look | None, moves: list[Move], topic: str | None, length: timedelta) -> list[Timeline]:
    """Of the cluster, or of the topic that was asked for; and of those that moved or are not closed."""
    ends = timezone.now()
    states = {one.topic: one.state for one in look.standings.values()} if look else {}
    wanted = dict.fromkeys([topic or ""])
    if topic is None:
        open_now = (name for name, state in states.items() if state is not State.CLOSED)
        wanted |= dict.fromkeys([*open_now, *(move.topic for move in reversed(moves))])
    return [
        timeline(
            name,
            [move for move in moves if move.topic == name],
            states.get(name, State.CLOSED),
            ends - length,
            ends,
        )
        for name in list(wanted)[:TIMELINES_SHOWN]
    ]
