"""How calls ended, as the breakers are told: a call is one request's records for one topic, or one step of the drain.

Data plane; on the poll thread. Each call counts once, and breakers leave out what began before their last transition.
docs/faults.md says what each error counts for.
"""

from collections import Counter
from collections.abc import Callable, Collection

from ingest.dataplane.breaker import Breaker, State
from ingest.dataplane.faults import Counts, Fault, verdict_of
from ingest.dataplane.flow import Line, Trial
from ingest.dataplane.flows import Flows
from ingest.dataplane.in_flight import InFlight

# A call that is this old, while its topic has had no success for as long, has failed: librdkafka says so much later.
OVERDUE_S = 5.0
NO_REPORT = f"no report for {OVERDUE_S:g} s"


class Calls:
    """Gathers results and tells them to the breakers of the cluster and of the topics."""

    def __init__(self, flows: Flows, now_s: Callable[[], float]) -> None:
        self._flows = flows
        self._now_s = now_s
        self._last_success_s = float("-inf")
        self._successes: Counter[Trial | tuple[Line, int, int]] = Counter()
        self._answers: Counter[tuple[Breaker, int]] = Counter()
        self._failures: Counter[tuple[Breaker, int]] = Counter()
        self._unsaid: Counter[tuple[Breaker, int]] = Counter()
        self._why = ""

    def succeeded(self, in_flight: InFlight) -> None:
        """Kafka has answered, though maybe not as one would like."""
        if not in_flight.is_counted:
            in_flight.is_counted = True
            self._successes[in_flight.flow.line, in_flight.cluster_epoch, in_flight.topic_epoch] += 1

    def failed(self, in_flight: InFlight, codes: Collection[int], why: str) -> None:
        """It ended with these codes. A trial that they say nothing of is given back."""
        if in_flight.is_counted:
            return
        in_flight.is_counted = True
        self._count(Trial(in_flight.flow.line, in_flight.cluster_epoch, in_flight.topic_epoch), codes, why)

    def silent_still(self, in_flight: InFlight) -> None:
        """A call that was counted as overdue, and nothing has been heard since. Of a trial once is enough."""
        line = in_flight.flow.line
        breaker, epoch = line.breaker, in_flight.topic_epoch
        if self._now_s() - self._last_success_s > OVERDUE_S:
            breaker, epoch = self._flows.cluster, in_flight.cluster_epoch
        if breaker.state is State.CLOSED:
            self._failures[breaker, epoch] += 1
            self._why = NO_REPORT

    def came_to_nothing(self, in_flight: InFlight) -> None:
        """Nothing of it was sent, or nobody will hear what became of it."""
        self.failed(in_flight, (), "")

    def tell(self) -> None:
        """Tell the breakers what has been gathered."""
        if self._flows.ended_trials:
            self._count_ended_trials()
        successes, self._answers = self._answers, Counter()
        if self._successes:
            self._last_success_s = self._now_s()
            for (line, cluster_epoch, topic_epoch), calls in self._successes.items():
                line.last_success_s = self._last_success_s
                line.trial_ended(cluster_epoch)
                successes[self._flows.cluster, cluster_epoch] += calls
                successes[line.breaker, topic_epoch] += calls
            self._successes = Counter()
        failures, self._failures = self._failures, Counter()
        for breaker, epoch in {*successes, *failures}:
            breaker.record(successes[breaker, epoch], failures[breaker, epoch], epoch, self._why)
        if self._unsaid:
            for (breaker, epoch), calls in self._unsaid.items():
                breaker.give_back(calls, epoch)
            self._unsaid = Counter()

    def _count_ended_trials(self) -> None:
        """Those of what is not journaled, which any thread may have reported."""
        while self._flows.ended_trials:
            call, error = self._flows.ended_trials.popleft()
            if error is None:
                self._successes[call] += 1
            else:
                self._count(call, (error.code(),), error.name())

    def _count(self, call: Trial, codes: Collection[int], why: str) -> None:
        line, counts = call.line, {verdict_of(code).counts for code in codes}
        cluster, topic = (self._flows.cluster, call.cluster_epoch), (line.breaker, call.topic_epoch)
        line.trial_ended(call.cluster_epoch)
        if counts - {Counts.NOTHING}:
            self._why = why
        if Counts.CLUSTER in counts and self._now_s() - self._last_success_s > OVERDUE_S:
            self._failures[cluster] += 1
            if line.breaker.state is State.HALF_OPEN:  # its trial has failed, whoever's fault that is
                self._failures[topic] += 1
            return
        (self._answers if any(map(_is_answer, codes)) else self._unsaid)[cluster] += 1
        (self._failures if counts - {Counts.NOTHING} else self._unsaid)[topic] += 1


def _is_answer(code: int) -> bool:
    """Whether a broker said it, of one topic or partition: a cluster that answers so is well."""
    verdict = verdict_of(code)
    return code > 0 and (verdict.fault is Fault.TOPIC or verdict.counts is Counts.TOPIC)
