"""How calls ended, as the breakers are told: a call is one request's records for one topic, or one step of the drain.

Data plane; on the poll thread. Each call counts once, and breakers leave out what began before their last transition.
docs/faults.md says what each error counts for.
"""

from collections import Counter
from collections.abc import Callable

from ingest.dataplane.breaker import Breaker
from ingest.dataplane.flow import Line
from ingest.dataplane.flows import Flows
from ingest.dataplane.in_flight import InFlight

# A call that is this old, while its topic has had no success for as long, has failed: librdkafka says so much later.
OVERDUE_S = 5.0


class Calls:
    """Gathers results and tells them to the breakers of the cluster and of the topics."""

    def __init__(self, flows: Flows, now_s: Callable[[], float]) -> None:
        self._flows = flows
        self._now_s = now_s
        self._last_success_s = float("-inf")
        self._successes: Counter[tuple[Line, int, int]] = Counter()
        self._failures: Counter[tuple[Breaker, int]] = Counter()
        self._why = ""

    def succeeded(self, in_flight: InFlight) -> None:
        """Kafka has answered, though maybe not as one would like."""
        if not in_flight.is_counted:
            in_flight.is_counted = True
            self._successes[in_flight.flow.line, in_flight.cluster_epoch, in_flight.topic_epoch] += 1

    def failed(self, in_flight: InFlight, why: str, *, is_clusters: bool) -> None:
        """It is the cluster's failure where no topic succeeds, else its topic's."""
        if in_flight.is_counted:
            return
        in_flight.is_counted = True
        self._why = why
        if is_clusters and self._now_s() - self._last_success_s > OVERDUE_S:
            self._failures[self._flows.cluster, in_flight.cluster_epoch] += 1
        else:
            self._failures[in_flight.flow.line.breaker, in_flight.topic_epoch] += 1

    def tell(self) -> None:
        """Tell the breakers what has been gathered."""
        successes: Counter[tuple[Breaker, int]] = Counter()
        if self._successes:
            self._last_success_s = self._now_s()
            for (line, cluster_epoch, topic_epoch), calls in self._successes.items():
                line.last_success_s = self._last_success_s
                successes[self._flows.cluster, cluster_epoch] += calls
                successes[line.breaker, topic_epoch] += calls
            self._successes = Counter()
        failures, self._failures = self._failures, Counter()
        for breaker, epoch in {*successes, *failures}:
            breaker.record(successes[breaker, epoch], failures[breaker, epoch], epoch, self._why)
