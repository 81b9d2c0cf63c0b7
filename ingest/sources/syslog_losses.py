"""What of syslog nobody accepted: counted, and said in the log, at once and then once a minute.

Sources; the loop's thread. Its senders cannot be told, so operators are.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from ingest.dataplane import metrics

log = logging.getLogger(__name__)

SAY_EVERY_S: Final = 60.0


class Losses:
    """One a process; by transport and reason."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._unsaid: Counter[tuple[str, str]] = Counter()
        self._said_at_s = float("-inf")

    def add(self, transport: str, reason: str, messages: int) -> None:
        """So many more; `reason` is a code of ours, or `kernel` for what its buffer had no room for."""
        if messages:
            metrics.SYSLOG_LOST_MESSAGES.labels(transport, reason).inc(messages)
            self._unsaid[transport, reason] += messages
            self.say()

    def say(self) -> None:
        """What was not said yet, unless something was said a moment ago."""
        if self._unsaid and self._now_s() - self._said_at_s >= SAY_EVERY_S:
            told = ", ".join(f"{lost} over {by} ({why})" for (by, why), lost in sorted(self._unsaid.items()))
            log.warning("syslog messages are lost: %s", told)
            self._unsaid.clear()
            self._said_at_s = self._now_s()
