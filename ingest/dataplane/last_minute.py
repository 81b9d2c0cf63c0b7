"""What a worker delivered within the last minute, and how fast: its own metrics now, less what they were a minute ago.

Data plane; one thread, the chores'. The metrics are running totals since the process began, so nothing is counted
twice on the event path. Reading them costs about a millisecond at fifty topics.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from prometheus_client import Counter, Histogram

from ingest.dataplane import metrics

WINDOW_S = 60.0
STEP_S = 5.0
# Of fewer acknowledgements one slow first batch after a start would be the 99th percentile.
P99_MIN_OBSERVATIONS = 20
# A missing or forbidden topic is parked and has its own alert; a purged record is nobody's fault.
ERROR_FAULTS = frozenset({"cluster", "record", "fatal"})
THROTTLED = frozenset({"429"})


class Growth:
    """By how much running totals have grown within a window that moves in steps. Not thread-safe."""

    def __init__(self, now_s: Callable[[], float], window_s: float = WINDOW_S, step_s: float = STEP_S) -> None:
        self._now_s = now_s
        self._window_s = window_s
        self._step_s = step_s
        self._seen: deque[tuple[float, Mapping[str, float]]] = deque()

    def take(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Note the totals of now; returns what came within the window, which is up to one step longer than said.

        A total that was not there at the window's start was 0 then.
        """
        now_s = self._now_s()
        while len(self._seen) > 1 and self._seen[1][0] <= now_s - self._window_s:
            self._seen.popleft()
        if not self._seen or now_s - self._seen[-1][0] >= self._step_s:
            self._seen.append((now_s, totals))
        before = self._seen[0][1]
        return {name: total - before.get(name, 0.0) for name, total in totals.items()}


def percentile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the observations lie, interpolated within its bucket; None without any.

    `counts` has one number for each upper bound. The last bound may be infinite: what lies there counts as the bound
    before it.
    """
    total = sum(counts)
    if total <= 0:
        return None
    rank, below, lower = share * total, 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count and below + count >= rank:
            return lower if bound == float("inf") else lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return lower


class LastMinute:
    """A worker's figures of the last minute; take() them about once a second."""

    def __init__(
        self,
        now_s: Callable[[], float],
        *,
        events_accepted: Counter = metrics.EVENTS_ACCEPTED,
        events_rejected: Counter = metrics.EVENTS_REJECTED,
        http_requests: Counter = metrics.HTTP_REQUESTS,
        produce_seconds: Histogram = metrics.PRODUCE_SECONDS,
        events_delivered: Counter = metrics.EVENTS_DELIVERED,
        delivery_errors: Counter = metrics.DELIVERY_ERRORS,
    ) -> None:
        self._events_accepted = events_accepted
        self._events_rejected = events_rejected
        self._http_requests = http_requests
        self._produce_seconds = produce_seconds
        self._events_delivered = events_delivered
        self._delivery_errors = delivery_errors
        self._growth = Growth(now_s)

    def take(self) -> dict[str, Any]:
        """Fields of WorkerStatus."""
        delivered, errors = _total(self._events_delivered), _total(self._delivery_errors, "fault", ERROR_FAULTS)
        buckets = _bucket_totals(self._produce_seconds)
        totals = {
            "accepted": _total(self._events_accepted),
            "rejected": _total(self._events_rejected),
            "throttled": _total(self._http_requests, "status", THROTTLED),
            "delivered": delivered,
            "errors": errors,
        }
        grown = self._growth.take({**totals, **buckets})
        up_to = {bound: grown[bound] for bound in buckets}
        return {
            "accepted_last_minute_events": grown["accepted"],
            "rejected_last_minute_events": grown["rejected"],
            "throttled_last_minute_requests": grown["throttled"],
            "delivered_events": delivered,
            "delivery_errors": errors,
            "delivered_last_minute_events": grown["delivered"],
            "delivery_errors_last_minute": grown["errors"],
            "produce_last_minute_up_to": up_to,
            "produce_p99_ms": percentile_ms(up_to, 0.99),
        }


def percentile_ms(up_to: Mapping[str, float], share: float) -> float | None:
    """`up_to` is upper bound in seconds, as a metric writes it -> observations up to it. None of too few."""
    sorted_up_to = sorted((float(bound), count) for bound, count in up_to.items())
    bounds, cumulative = [bound for bound, _ in sorted_up_to], [count for _, count in sorted_up_to]
    if not bounds or cumulative[-1] < P99_MIN_OBSERVATIONS:
        return None
    counts = [here - before for before, here in pairwise([0.0, *cumulative])]
    seconds = percentile(bounds, counts, share)
    return None if seconds is None else seconds * 1000


def _total(counter: Counter, label: str = "", values: frozenset[str] = frozenset()) -> float:
    """Of all its children, or of those whose label has one of the values."""
    samples = (sample for family in counter.collect() for sample in family.samples if sample.name.endswith("_total"))
    return sum(sample.value for sample in samples if not label or sample.labels[label] in values)


def _bucket_totals(histogram: Histogram) -> dict[str, float]:
    """Upper bound as written -> observations up to it, over all topics."""
    totals: dict[str, float] = defaultdict(float)
    for family in histogram.collect():
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                totals[sample.labels["le"]] += sample.value
    return totals
