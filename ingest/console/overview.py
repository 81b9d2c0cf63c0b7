"""The overview: is it healthy, and if not, whose fault is it. The live part is asked for every five seconds, the charts
every minute; both say how old they are.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render as render_part
from django.utils import timezone
from redis import RedisError

from ingest.console.charts import Chart, Times, Values, chart
from ingest.console.live import Live, look
from ingest.console.open_alerts import incidents_open, told_of
from ingest.console.pages import console_page, render
from ingest.console.problems import problems_of
from ingest.dataplane.breaker import State
from ingest.dead_letters.selection import OPEN, letters_by_cause
from ingest.models import DeadLetter, Incident, PlatformMinute
from ingest.shared_redis import shared_redis

# Of each list: a platform in trouble may have thousands of any, and its own page has them all.
ROWS_SHOWN = 8
_ALERTS_LOOKED_AT = 200
QUARTER_HOUR_MINUTES = 15
_PERMISSION = "ingest.view_platformminute"


class Tile(NamedTuple):
    """One figure of the overview."""

    name: str
    value: str
    unit: str


class Shown(NamedTuple):
    """The first of many, and how many more there are."""

    rows: Sequence[Any]
    more: int


@console_page(_PERMISSION)
def overview(request: HttpRequest) -> HttpResponse:
    """The whole page, complete without a script."""
    return render(request, "console/overview.html", "Overview", **_now(), charts=_charts("hour"), span="hour")


@console_page(_PERMISSION)
def overview_live(request: HttpRequest) -> HttpResponse:
    """What htmx swaps in every five seconds."""
    return render_part(request, "console/overview_live.html", _now())


@console_page(_PERMISSION)
def overview_charts(request: HttpRequest) -> HttpResponse:
    """What htmx swaps in every minute, or when another span is asked for."""
    span = "day" if request.GET.get("span") == "day" else "hour"
    return render_part(request, "console/overview_charts.html", {"charts": _charts(span), "span": span})


def _now() -> dict[str, Any]:
    wall_s = time.time()
    live = _look(wall_s)
    causes = letters_by_cause(letters=DeadLetter.objects.filter(status__in=OPEN))
    alerts = list(incidents_open()[:_ALERTS_LOOKED_AT])
    return {
        "live": live,
        "problems": _first(problems_of(live, alerts, settings.FOREBAY_ALERT_UNWATCHED_S)),
        "incidents": _shown(alerts),
        "causes": _first(causes),
        "as_of": datetime.fromtimestamp(wall_s, UTC),
        **(_told(live, sum(cause.letters for cause in causes)) if live else {}),
    }


def _told(live: Live, letters: int) -> dict[str, Any]:
    """What Redis has, the worst first."""
    workers = [(worker, True) for worker in live.missing] + [(worker, False) for worker in live.workers]
    return {
        "tiles": _tiles(live, letters),
        "breakers": _first(sorted(live.breakers, key=lambda breaker: breaker.state is State.CLOSED)),
        "parked": _first(sorted(live.parked, key=lambda entry: -entry.pending)),
        "workers": _first(workers),
        "busiest": _first(live.busiest),
        "limited": _first(live.limited),
    }


def _shown(alerts: Sequence[Incident]) -> Shown:
    """With the title and the runbook of each."""
    rows = told_of(alerts[:ROWS_SHOWN])
    count = len(alerts) if len(alerts) < _ALERTS_LOOKED_AT else incidents_open().count()
    return Shown(rows, count - len(rows))


def _first(rows: Sequence[Any]) -> Shown:
    return Shown(rows[:ROWS_SHOWN], max(0, len(rows) - ROWS_SHOWN))


def _look(wall_s: float) -> Live | None:
    try:
        with shared_redis() as client:
            return look(client, wall_s)
    except RedisError:
        return None


def _tiles(live: Live, letters: int) -> list[Tile]:
    """Rates and latencies are those of the last minute."""
    totals = live.totals
    return [
        Tile("Events in", _number(totals.accepted_events / 60), "/s"),
        Tile("Events out", _number(totals.delivered_events / 60), "/s"),
        Tile("p50 to Kafka's ack", *_latency(totals.p50_ms)),
        Tile("p95", *_latency(totals.p95_ms)),
        Tile("p99", *_latency(totals.p99_ms)),
        Tile("Delivery errors", _number(totals.error_ratio * 100), "%"),
        Tile("Queue", _number(totals.queue_ratio * 100), "% full"),
        Tile("Journal", _number(totals.journal_ratio * 100), "% full"),
        Tile("Waiting in journals", f"{totals.pending_events:,}", "event" if totals.pending_events == 1 else "events"),
        Tile("Rejected", _number(totals.rejected_events / 60), "/s"),
        Tile("Throttled", _number(totals.throttled_requests / 60), "requests/s"),
        Tile("Dead letters", f"{letters:,}", "open"),
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def _latency(value_ms: float | None) -> tuple[str, str]:
    return ("-", "too few to tell") if value_ms is None else (_number(value_ms), "ms")


def _charts(span: str) -> Sequence[Chart]:
    """From the rows of the last hour, or of the last day by quarters of an hour."""
    now = timezone.now()
    length = timedelta(hours=1) if span == "hour" else timedelta(days=1)
    step_minutes = 1 if span == "hour" else QUARTER_HOUR_MINUTES
    count = int(length.total_seconds() // 60 // step_minutes)
    slots: list[list[PlatformMinute]] = [[] for _ in range(count)]
    first_minute = int((now - length).timestamp() // 60)
    for row in PlatformMinute.objects.filter(at__gt=now - length):
        slots[min(count - 1, (int(row.at.timestamp() // 60) - first_minute - 1) // step_minutes)].append(row)
    times = Times(f"{now - length:%H:%M}", f"{now:%H:%M} UTC")

    def mean(field: str, divisor: float = 1) -> Values:
        return [_of(slot, field, lambda values: sum(values) / len(values) / divisor) for slot in slots]

    def most(field: str, factor: float = 1) -> Values:
        return [_of(slot, field, lambda values: max(values) * factor) for slot in slots]

    return [
        chart("Events a second", {"in": mean("accepted_events", 60), "out": mean("delivered_events", 60)}, times),
        chart(
            "Accepted to acknowledged",
            {name: most(f"produce_{name}_ms") for name in ("p50", "p95", "p99")},
            times,
            unit=" ms",
        ),
        chart(
            "How full",
            {"journal": most("journal_ratio", 100), "queue": most("queue_ratio", 100)},
            times,
            unit=" %",
            least_top=1,
        ),
        chart(
            "Refused or failed, a minute",
            {
                "rejected": mean("rejected_events"),
                "throttled": mean("throttled_requests"),
                "errors": mean("delivery_errors"),
            },
            times,
        ),
    ]


def _of(rows: Iterable[PlatformMinute], field: str, merge: Callable[[list[float]], float]) -> float | None:
    values = [value for row in rows if (value := getattr(row, field)) is not None]
    return merge(values) if values else None
