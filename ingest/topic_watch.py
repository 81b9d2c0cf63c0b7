"""When topics are verified, and what was found last. Control plane; in the builder process.

The cluster is asked on a thread of its own: while it does not answer, a call takes ten seconds, and a revoked key must
not wait for that.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from django.conf import settings

from ingest.topics import KafkaAway, Verified

log = logging.getLogger(__name__)

# How soon a topic that does not exist yet, or a cluster that did not answer, is asked about again.
RETRY_S = 5.0
# A cluster that answers does so within this; the snapshot is then built once and not twice.
ANSWER_WITHIN_S = 0.3


class Verifier(Protocol):
    """`ingest.topics.Topics`, as far as it is used here."""

    def verify(self, names: list[str], former: list[str]) -> Verified: ...


class TopicWatch:
    """Asks when the names have changed or it is time, one question at a time."""

    def __init__(self, topics: Verifier, now_s: Callable[[], float] = time.monotonic) -> None:
        self.verified = Verified()
        self._topics = topics
        self._now_s = now_s
        self._asked: tuple[list[str], list[str]] = ([], [])
        self._ask_at_s = 0.0
        self._question: threading.Thread | None = None

    def look(self, names: list[str], former: list[str]) -> Verified:
        """What was found last of `names`, which should be there, and of `former`, which may be gone; blocks for no
        longer than ANSWER_WITHIN_S."""
        is_asking = self._question is not None and self._question.is_alive()
        if not is_asking and ((names, former) != self._asked or self._now_s() >= self._ask_at_s):
            self._asked = (names, former)
            self._question = threading.Thread(target=self._ask, args=(names, former), name="topics", daemon=True)
            self._question.start()
            self._question.join(ANSWER_WITHIN_S)
        return self.verified

    def _ask(self, names: list[str], former: list[str]) -> None:
        retry_s = RETRY_S
        try:
            self.verified = verified = self._topics.verify(names, former)
            if {topic.name for topic in verified.topics}.issuperset(names):
                retry_s = settings.FOREBAY_TOPIC_VERIFY_INTERVAL_S
        except KafkaAway as error:
            log.warning("Kafka does not answer, topics stay as they were verified: %s", error)
        finally:
            self._ask_at_s = self._now_s() + retry_s
