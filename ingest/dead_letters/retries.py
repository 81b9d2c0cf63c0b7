"""When a dead letter is tried again by itself: pure arithmetic, with the clock and the dice given.

Control plane; stateless. Only what may get better without anybody touching the record is tried again: faults of the
cluster and of the topic. The pause before a try is drawn from zero to a bound that doubles each time ("full jitter"),
so that letters which died in one moment do not all come back in one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from ingest.dataplane.faults import Fault

Uniform = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The bounds of trying again; each a setting."""

    base_s: float
    max_s: float
    max_attempts: int
    max_age_s: float

    def next_attempt_at(
        self, *, fault: str, retries: int, since: datetime, now: datetime, uniform: Uniform
    ) -> datetime | None:
        """When to try after `retries` tries since `since`; None when it is an operator's turn."""
        if fault == Fault.RECORD or retries >= self.max_attempts or (now - since).total_seconds() >= self.max_age_s:
            return None
        # The exponent is bounded only so that no number overflows: by then `max_s` binds.
        return now + timedelta(seconds=uniform(0.0, min(self.max_s, self.base_s * 2.0 ** min(retries, 64))))


def retry_policy() -> RetryPolicy:
    """As the settings have it."""
    return RetryPolicy(
        base_s=settings.FOREBAY_DEAD_LETTER_RETRY_BASE_S,
        max_s=settings.FOREBAY_DEAD_LETTER_RETRY_MAX_S,
        max_attempts=settings.FOREBAY_DEAD_LETTER_MAX_ATTEMPTS,
        max_age_s=settings.FOREBAY_DEAD_LETTER_MAX_AGE_S,
    )
