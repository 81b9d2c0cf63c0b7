"""Every metric of the event path: its name, kind, labels, and when it moves; docs/metrics.md says how to read it.

Data plane; prometheus_client in multiprocess mode. They move once a request or a delivery, never once an event, and
what moves with every request is tallied in Python first. Label values are bounded: the builder names the tenants.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from ingest.dataplane.tally import CounterTally, HistogramTally

OTHER_TENANTS = "_other"
_LATENCY_BUCKETS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)

HTTP_REQUESTS = Counter("forebay_http_requests", "Lane requests, when answered.", ["route", "status"])
HTTP_REQUEST_SECONDS = Histogram(
    "forebay_http_request_seconds", "Lane requests, from dispatch to answer.", ["route"], buckets=_LATENCY_BUCKETS_S
)
EVENTS_ACCEPTED = Counter("forebay_events_accepted", "Events accepted, when journaled.", ["tenant", "dialect"])
RECEIVED_BYTES = Counter(
    "forebay_received_bytes", "Decompressed body bytes of accepted requests.", ["tenant", "dialect"]
)
EVENTS_REJECTED = Counter("forebay_events_rejected", "Events never accepted, when refused.", ["tenant", "reason"])
EVENTS_DROPPED = Counter("forebay_events_dropped", "Events accepted and dropped as declared.", ["tenant", "reason"])
REQUEST_EVENTS = Histogram(
    "forebay_request_events",
    "Events in a request, when accepted.",
    ["dialect"],
    buckets=(1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000),
)
EVENTS_DELIVERED = Counter("forebay_events_delivered", "Events that Kafka acknowledged, when settled.", ["topic"])
PRODUCE_SECONDS = Histogram(
    "forebay_produce_seconds",
    "From accepted to the last acknowledgement, once for each request and topic.",
    ["topic"],
    buckets=_LATENCY_BUCKETS_S,
)
DELIVERY_ERRORS = Counter("forebay_delivery_errors", "Failed deliveries of records, when reported.", ["fault", "code"])
ACK_REQUESTS = Counter(
    "forebay_ack_requests", "Requests that asked for an acknowledgement, when answered.", ["outcome"]
)
LATE_REPORTS = Counter("forebay_late_reports", "Delivery reports for records that were settled before.")

IN_FLIGHT_EVENTS = Gauge(
    "forebay_in_flight_events", "Records in librdkafka's hands, each second.", multiprocess_mode="livesum"
)
PRODUCER_QUEUE_UTILISATION_RATIO = Gauge(
    "forebay_producer_queue_utilisation_ratio",
    "Fullest producer queue, each 5 s.",
    multiprocess_mode="livemax",
)
PRODUCER_SENT_BYTES = Counter("forebay_producer_sent_bytes", "Bytes sent to brokers, after compression.")
PRODUCER_BATCH_BYTES = Gauge(
    "forebay_producer_batch_bytes", "Mean size of a produced batch, by topic.", ["topic"], multiprocess_mode="livemax"
)
PRODUCER_BATCH_EVENTS = Gauge(
    "forebay_producer_batch_events",
    "Mean records of a produced batch, by topic.",
    ["topic"],
    multiprocess_mode="livemax",
)
BROKER_ROUND_TRIP_SECONDS = Gauge(
    "forebay_broker_round_trip_seconds", "99th percentile of the slowest broker.", multiprocess_mode="livemax"
)
JOURNAL_USED_BYTES = Gauge(
    "forebay_journal_used_bytes", "Journal bytes kept, each second.", multiprocess_mode="livesum"
)
JOURNAL_UTILISATION_RATIO = Gauge(
    "forebay_journal_utilisation_ratio", "Fullest journal, each second.", multiprocess_mode="livemax"
)
JOURNAL_PENDING_EVENTS = Gauge(
    "forebay_journal_pending_events", "Accepted events waiting for the drain, each second.", multiprocess_mode="livesum"
)
JOURNAL_HELD_EVENTS = Counter("forebay_journal_held_events", "Events kept in the journal because Kafka refuses them.")
JOURNAL_ADOPTED = Counter("forebay_journal_adopted", "Journals of dead workers taken over.")
JOURNAL_DAMAGED_FRAMES = Counter("forebay_journal_damaged_frames", "Journal frames that could not be read.")
SNAPSHOT_AGE_SECONDS = Gauge(
    "forebay_snapshot_age_seconds", "Age of the oldest snapshot in use, each second.", multiprocess_mode="livemax"
)
SNAPSHOT_VERSION = Gauge("forebay_snapshot_version", "Lowest snapshot version in use.", multiprocess_mode="livemin")
QUOTA_REDIS_AVAILABLE = Gauge(
    "forebay_quota_redis_available", "0 while a worker lives on its local quota share.", multiprocess_mode="livemin"
)


class TenantMeter:
    """What moves with a request of one tenant in one dialect, looked up once. Thread-safe."""

    __slots__ = ("_accepted", "_bytes", "_events", "tenant")

    def __init__(self, tenant: str, dialect: str) -> None:
        self.tenant = tenant
        self._accepted, self._bytes, self._events = _request_tallies(tenant, dialect)

    def accepted(self, events: int, size_bytes: int) -> None:
        """One accepted request."""
        self._accepted.inc(events)
        self._bytes.inc(size_bytes)
        self._events.observe(events)

    def rejected(self, reason: str, events: int) -> None:
        """Events refused for one reason."""
        EVENTS_REJECTED.labels(self.tenant, reason).inc(events)

    def dropped(self, reason: str, events: int) -> None:
        """Events accepted and dropped for one declared reason."""
        EVENTS_DROPPED.labels(self.tenant, reason).inc(events)


@cache
def _request_tallies(tenant: str, dialect: str) -> tuple[CounterTally, CounterTally, HistogramTally]:
    return (
        CounterTally(EVENTS_ACCEPTED.labels(tenant, dialect)),
        CounterTally(RECEIVED_BYTES.labels(tenant, dialect)),
        HistogramTally(REQUEST_EVENTS.labels(dialect)),
    )


@cache
def http_requests(route: str, status: int) -> CounterTally:
    """The tally of one route and status."""
    return CounterTally(HTTP_REQUESTS.labels(route, str(status)))


@cache
def http_request_seconds(route: str) -> HistogramTally:
    """The tally of one route."""
    return HistogramTally(HTTP_REQUEST_SECONDS.labels(route))


@cache
def delivered(topic: str) -> tuple[CounterTally, HistogramTally]:
    """What moves when records of a topic are acknowledged."""
    return CounterTally(EVENTS_DELIVERED.labels(topic)), HistogramTally(PRODUCE_SECONDS.labels(topic))
