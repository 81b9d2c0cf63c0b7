"""The rows of the benchmark: stable names, what each one sends, and in which group it is interleaved. Pure.

Scripts compare runs by these names: add rows, never rename one.
"""

from dataclasses import dataclass
from typing import Final

PROFILES: Final = ("default", "reference")
CODECS: Final = ("none", "lz4", "snappy", "gzip", "zstd")
PACED_SINGLES_PER_S: Final = 1_000
PACED_EVENTS_PER_S: Final = 50_000
PACED_BATCH_EVENTS: Final = (100, 500)
# The size of an event by itself; what a batch adds is brackets and commas.
SMALL_BYTES, MEDIUM_BYTES, LARGE_BYTES = 240, 2_048, 51_200


@dataclass(frozen=True)
class Load:
    """What wrk posts in a closed loop, each connection as fast as it is answered."""

    events: int
    event_bytes: int = SMALL_BYTES
    path: str = "/api/logs/batch"


@dataclass(frozen=True)
class Row:
    """One line of the table. Rows of a group are measured in turn, A B C A B C, for the machine's mood changes."""

    name: str
    group: str
    what: str
    load: Load | None = None


BATCH_500, BATCH_100 = Load(500), Load(100)
SINGLE = Load(1, path="/api/logs")

ROWS: Final[dict[str, Row]] = {
    row.name: row
    for row in (
        Row("raw_loop", "batches", "a plain confluent-kafka loop: constant 240-byte payload, delivery reports"),
        Row("batch_500", "batches", "POST /api/logs/batch, 500 events of 240 bytes", BATCH_500),
        Row("batch_100", "batches", "the same with 100 events", BATCH_100),
        Row(
            "batch_100_ack",
            "batches",
            "the same with ?delivery=ack: each request waits for Kafka",
            Load(100, path="/api/logs/batch?delivery=ack"),
        ),
        Row(
            "null_view",
            "singles",
            "an empty Django view, no middleware, on the same server",
            Load(1, path="/null"),
        ),
        Row("single", "singles", "POST /api/logs, one event of 240 bytes", SINGLE),
        Row("single_ack", "singles", "the same with ?delivery=ack", Load(1, path="/api/logs?delivery=ack")),
        Row("events_2kb", "large", "batches of 100 events of 2 KB", Load(100, MEDIUM_BYTES)),
        Row("events_50kb", "large", "batches of 20 events of 50 KB", Load(20, LARGE_BYTES)),
        Row("single_paced", "paced", f"{PACED_SINGLES_PER_S:,} single POSTs a second, open loop, from due to answered"),
        Row(
            "to_consumer",
            "paced",
            f"{PACED_EVENTS_PER_S:,} events a second in batches of 100 to 500, open loop, from due to consumed",
        ),
        *(
            Row(f"{profile}_{codec}", "wire", f"profile {profile} with {codec}: a fixed number of events, bytes sent")
            for codec in CODECS
            for profile in PROFILES
        ),
    )
}

# The two ratios of the targets: name, row, the row it is measured against.
RATIOS: Final = (
    ("batch_500_to_raw_loop", "batch_500", "raw_loop"),
    ("single_to_null_view", "single", "null_view"),
)
