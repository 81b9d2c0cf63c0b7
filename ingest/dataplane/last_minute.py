"""What a worker delivered within the last minute, and how fast: its own metrics now, less what they were a minute ago.

Data plane; one thread, the chores'. The metrics are running totals since the process began, so nothing is counted
twice on the event path. Reading them costs about a millisecond at fifty topics.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from prometheus_client import Counter, Histogram

from ingest.dataplane import metrics

WINDOW_S = 60.0
STEP_S = 5.0
# Of fewer acknowledgements one slow first batch after a start would be the 99th percentile.
P99_MIN_OBSERVATIONS = 20
# A missing or forbidden topic is parked and has its own alert; a purged record is nobody's fault.
ERROR_FAULTS = frozenset({"cluster", "record", "fatal"})


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
        produce_seconds: Histogram = metrics.PRODUCE_SECONDS,
        events_delivered: Counter = metrics.EVENTS_DELIVERED,
        delivery_errors: Counter = metrics.DELIVERY_ERRORS,
    ) -> None:
        self._produce_seconds = produce_seconds
        self._events_delivered = events_delivered
        self._delivery_errors = delivery_errors
        self._growth = Growth(now_s)

    def take(self) -> dict[str, float | None]:
        """Fields of WorkerStatus."""
        delivered, errors = _total(self._events_delivered), _total(self._delivery_errors, ERROR_FAULTS)
        buckets = _bucket_totals(self._produce_seconds)
        grown = self._growth.take({"delivered": delivered, "errors": errors, **buckets})
        return {
            "delivered_events": delivered,
            "delivery_errors": errors,
            "delivered_last_minute_events": grown["delivered"],
            "delivery_errors_last_minute": grown["errors"],
            "produce_p99_ms": _p99_ms({float(bound): grown[bound] for bound in buckets}),
        }


def _p99_ms(up_to: Mapping[float, float]) -> float | None:
    """`up_to` is upper bound -> observations up to it."""
    bounds = sorted(up_to)
    cumulative = [up_to[bound] for bound in bounds]
    if not bounds or cumulative[-1] < P99_MIN_OBSERVATIONS:
        return None
    counts = [here - before for before, here in pairwise([0.0, *cumulative])]
    p99_s = percentile(bounds, counts, 0.99)
    return None if p99_s is None else p99_s * 1000


def _total(counter: Counter, faults: frozenset[str] | None = None) -> float:
    samples = (sample for family in counter.collect() for sample in family.samples if sample.name.endswith("_total"))
    return sum(sample.value for sample in samples if faults is None or sample.labels["fault"] in faults)


def _bucket_totals(histogram: Histogram) -> dict[str, float]:
    """Upper bound as written -> observations up to it, over all topics."""
    totals: dict[str, float] = defaultdict(float)
    for family in histogram.collect():
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                totals[sample.labels["le"]] += sample.value
    return totals
