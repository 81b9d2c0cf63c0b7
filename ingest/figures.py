"""Figures of the control plane as metrics: Celery's processes expose none, so the workers show what was left in Redis.

Pure but for one read of Redis; a chore of the worker, every ten seconds, and no request waits for it.
"""

from typing import cast

import msgspec
import redis

from ingest.dataplane import metrics

FIGURES = "forebay:figures"
# Counted up by each sweep; the other totals are counted from the table.
FAILED_TRIES = "forebay:figures:failed_tries"
OUTCOMES = ("replayed", "discarded")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How it stood when it was last looked. `outcomes` only grow, until Redis is emptied; they are counted up to
    `counted_to_wall_s`."""

    open_letters: dict[str, int]
    oldest_letter_age_s: float
    bulk_replays: dict[str, int]
    untaken_notifications: int
    outcomes: dict[str, int]
    counted_to_wall_s: float


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Figures).decode


def show_figures(client: redis.Redis) -> None:
    """Blocks for a round trip; raises redis.RedisError."""
    left, failed_tries = cast(list[bytes | None], client.mget(FIGURES, FAILED_TRIES))
    metrics.DEAD_LETTER_OUTCOMES.labels("failed").set(int(failed_tries or 0))
    if left is None:
        return
    figures = decode(left)
    metrics.DEAD_LETTERS_OLDEST_AGE_SECONDS.set(figures.oldest_letter_age_s)
    metrics.NOTIFICATIONS_UNTAKEN.set(figures.untaken_notifications)
    for metric, counts in (
        (metrics.DEAD_LETTERS_OPEN, figures.open_letters),
        (metrics.BULK_REPLAYS, figures.bulk_replays),
        (metrics.DEAD_LETTER_OUTCOMES, figures.outcomes),
    ):
        for label, count in counts.items():
            metric.labels(label).set(count)
