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
SUSPECT_EVENTS = Counter("forebay_suspect_events", "Events that Kafka refused in a batch, when first refused.")
OVERDUE_CALLS = Counter("forebay_overdue_calls", "Requests' records that had no report for 5 s, when noticed.")
PRODUCER_PURGES = Counter("forebay_producer_purges", "Times that the producer's queue was called back.")
PRODUCER_RENEWALS = Counter("forebay_producer_renewals", "Times that librdkafka's producer was replaced.", ["reason"])
PARKED_FLOWS = Gauge(
    "forebay_parked_flows", "Topics of tenants that wait for an operator, each second.", multiprocess_mode="livesum"
)
JOURNAL_REWRITTEN_SEGMENTS = Counter("forebay_journal_rewritten_segments", "Old segments written anew, when done.")
JOURNAL_SYNC_SECONDS = Histogram(
    "forebay_journal_sync_seconds", "Journal written to the disk, each time.", buckets=_LATENCY_BUCKETS_S
)
JOURNAL_ADOPTED = Counter("forebay_journal_adopted", "Journals of dead workers taken over.")
JOURNAL_DAMAGED_FRAMES = Counter("forebay_journal_damaged_frames", "Journal frames that could not be read.")
SNAPSHOT_AGE_SECONDS = Gauge(
    "forebay_snapshot_age_seconds", "Age of the oldest snapshot in use, each second.", multiprocess_mode="livemax"
)
SNAPSHOT_VERSION = Gauge("forebay_snapshot_version", "Lowest snapshot version in use.", multiprocess_mode="livemin")
QUOTA_REDIS_AVAILABLE = Gauge(
    "forebay_quota_redis_available", "0 while a worker lives on its local quota share.", multiprocess_mode="livemin"
)
LEDGER_UNCONFIRMED_ACCOUNTS = Gauge(
    "forebay_ledger_unconfirmed_accounts",
    "Accounts that a journal still holds, the current minutes among them, each second.",
    multiprocess_mode="livesum",
)
LEDGER_UNBALANCED_EVENTS = Gauge(
    "forebay_ledger_unbalanced_events",
    "Events that the last check could not account for, each second.",
    multiprocess_mode="livemax",
)
LEDGER_CHECK_AGE_SECONDS = Gauge(
    "forebay_ledger_check_age_seconds", "Since the last check of the ledger, each second.", multiprocess_mode="livemax"
)
JOURNAL_MISSING_WORKER_PENDING_EVENTS = Gauge(
    "forebay_journal_missing_worker_pending_events",
    "Events that wait in journals of workers nobody hears of, each second.",
    multiprocess_mode="livemax",
)
DEAD_LETTERS_KEPT = Counter("forebay_dead_letters_kept", "Undeliverable events, when committed to the database.")
DEAD_LETTERS_REFUSED = Counter(
    "forebay_dead_letters_refused", "Offers that the dead-letter writer put off; they come again.", ["reason"]
)
DEAD_LETTER_QUEUE_EVENTS = Gauge(
    "forebay_dead_letter_queue_events",
    "Undeliverable events taken over and not committed.",
    multiprocess_mode="livesum",
)
IDEMPOTENCY_REQUESTS = Counter(
    "forebay_idempotency_requests", "Requests whose key or eventIds may have come before, when known.", ["outcome"]
)
QUARANTINED_EVENTS = Counter("forebay_quarantined_events", "Rejected events kept, when written.", ["kept"])
QUARANTINE_DROPPED_EVENTS = Counter(
    "forebay_quarantine_dropped_events", "Rejected events that were to be kept and are not.", ["reason"]
)

LISTEN_CONNECTIONS = Gauge(
    "forebay_listen_connections", "Long-lived connections that are open.", ["kind"], multiprocess_mode="livesum"
)
LISTEN_WAITS = Counter(
    "forebay_listen_waits", "Times that a connection was not read for a reason, when it is told.", ["reason"]
)
STREAM_ENDS = Counter("forebay_stream_ends", "Streams, when they are over.", ["reason"])
SYSLOG_LOST_MESSAGES = Counter(
    "forebay_syslog_lost_messages", "Syslog messages that nobody accepted, when known.", ["transport", "reason"]
)
TAIL_SKIPPED_EVENTS = Counter(
    "forebay_tail_skipped_events", "Sampled events that a reader of the live tail was too slow for."
)

BREAKER_STATE = Gauge(
    "forebay_breaker_state",
    "0 closed, 1 disabled, 2 half open, 3 open, 4 forced open; topic `_cluster` is the cluster's.",
    ["topic"],
    multiprocess_mode="livemax",
)
BREAKER_TRANSITIONS = Counter(
    "forebay_breaker_transitions", "Moves of a breaker, as each worker sees them.", ["topic", "to"]
)

# All workers tell the same of these, so the latest word is taken.
ALERTS_OPEN = Gauge("forebay_alerts_open", "Open incidents, each 10 s.", ["kind"], multiprocess_mode="livemostrecent")
ALERTS_EVALUATION_AGE_SECONDS = Gauge(
    "forebay_alerts_evaluation_age_seconds",
    "Since alerts were last evaluated, each 10 s.",
    multiprocess_mode="livemostrecent",
)
NOTIFICATIONS_UNTAKEN = Gauge(
    "forebay_notifications_untaken",
    "Notifications that were tried and that nobody has taken yet, each 10 s.",
    multiprocess_mode="livemostrecent",
)
DEAD_LETTERS_OPEN = Gauge(
    "forebay_dead_letters_open",
    "Dead letters that something can still become of, each 10 s.",
    ["status"],
    multiprocess_mode="livemostrecent",
)
DEAD_LETTERS_OLDEST_AGE_SECONDS = Gauge(
    "forebay_dead_letters_oldest_age_seconds",
    "Since the oldest open dead letter died, each 10 s.",
    multiprocess_mode="livemostrecent",
)
DEAD_LETTER_OUTCOMES = Gauge(
    "forebay_dead_letter_outcomes",
    "Dead letters replayed and discarded, and tries that failed, since Redis was last emptied; each 10 s.",
    ["outcome"],
    multiprocess_mode="livemostrecent",
)
BULK_REPLAYS = Gauge(
    "forebay_bulk_replays", "Bulk replays under way, each 10 s.", ["status"], multiprocess_mode="livemostrecent"
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
