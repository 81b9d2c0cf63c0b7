"""Stops sending to a cluster or a topic that fails, and tries again with care: a state machine after Resilience4j's.

Data plane; pure, the clock is injected. One small lock guards every change; `state`, `epoch` and `allows_direct` are
plain attributes that any thread may read. The poll thread records results, request threads and the drain take trials,
the board's thread (ingest/breaker_board.py) moves time on and speaks with the other processes.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import repeat

import msgspec


class State(StrEnum):
    """Resilience4j's words."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"
    FORCED_OPEN = "FORCED_OPEN"
    DISABLED = "DISABLED"


FAILURES_KEPT = 5
_OBEYED = {"FORCED_OPEN": State.FORCED_OPEN, "DISABLED": State.DISABLED, "RESET": State.CLOSED}


class BreakerLimits(msgspec.Struct, frozen=True):
    """When it opens: at `failure_ratio` of the last `window_calls` calls, of which at least `min_calls` must be known,
    or at `burst_failures` within `burst_s`. A permit for a trial that nobody uses ends after `permit_s`; a trial that
    says nothing for `trial_result_s` has failed, and where no other follows for as long, those made decide."""

    window_calls: int = 10
    min_calls: int = 5
    failure_ratio: float = 0.5
    burst_failures: int = 5
    burst_s: float = 10.0
    open_s: float = 60.0
    trials: int = 3
    permit_s: float = 10.0
    trial_result_s: float = 30.0


class Standing(msgspec.Struct, frozen=True):
    """Where a breaker stands, as processes tell each other; `age_s` ago it came to stand there. `override` is the
    number of the last word of an operator that was known then."""

    state: State
    epoch: int
    age_s: float
    cause: str
    by: str
    override: int


class TrialReport(msgspec.Struct, frozen=True):
    """What the other processes should know of this one's trials: permits used, results, those given back without one,
    and whether it wants one more. One at a time, so that they spread over processes and few are lost with one."""

    epoch: int
    used: tuple[str, ...] = ()
    successes: int = 0
    failures: int = 0
    given_back: int = 0
    wanted: bool = False


class FailedCalls(msgspec.Struct, frozen=True):
    """Calls that were told as failed at once, `age_s` ago, and why the last of them did."""

    age_s: float
    calls: int
    why: str


class Window(msgspec.Struct, frozen=True):
    """What a closed breaker decides by: of `known` calls so many `failed`. `failures` are the last ones, newest first;
    they stay when it moves."""

    known: int
    failed: int
    failures: tuple[FailedCalls, ...]


class Transition(msgspec.Struct, frozen=True):
    """From where to where, and why."""

    old: State
    new: State
    cause: str


OnTransition = Callable[["Breaker", State, State, str], None]


def tell_nobody(breaker: "Breaker", old: State, new: State, cause: str) -> None:
    """For whoever only asks."""


class Breaker:
    """The breaker of a topic, or of the cluster where `topic` is empty. Thread-safe; nothing in it blocks.

    `epoch` numbers the transitions. A call carries the epoch in which it began, and its result counts in no other.
    `on_transition` is called outside the lock by whichever thread moved it, so it may see a later state already.
    """

    __slots__ = (
        "_calls",
        "_failed_at_s",
        "_failed_last",
        "_failures",
        "_given_back",
        "_limits",
        "_lock",
        "_now_s",
        "_on_transition",
        "_permits",
        "_successes",
        "_used",
        "_used_at_s",
        "_wanted",
        "allows_direct",
        "by",
        "cause",
        "epoch",
        "override",
        "since_s",
        "state",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        limits: BreakerLimits,
        now_s: Callable[[], float] = time.monotonic,
        on_transition: OnTransition = tell_nobody,
    ) -> None:
        self.topic = topic
        self.state, self.epoch, self.allows_direct = State.CLOSED, 0, True
        self.cause, self.by, self.override = "", "", 0
        self.since_s = now_s()
        self._limits, self._now_s, self._on_transition = limits, now_s, on_transition
        self._lock = threading.Lock()
        self._calls: deque[bool] = deque(maxlen=limits.window_calls)
        self._failed_at_s: deque[float] = deque(maxlen=limits.burst_failures)
        self._failed_last: deque[tuple[float, int, str]] = deque(maxlen=FAILURES_KEPT)
        self._permits: deque[tuple[str, float]] = deque()
        self._used: list[str] = []
        self._used_at_s = 0.0
        self._successes = self._failures = self._given_back = 0
        self._wanted = False

    # --- the path and the poll thread --------------------------------------------------------------------------------
    def record(self, successes: int, failures: int, epoch: int, why: str = "") -> None:
        """Results of calls that began in `epoch`; of one batch the failures count as the later ones. `why` names the
        last failure. Costs the same for thousands as for one."""
        moved = None
        with self._lock:
            if epoch != self.epoch:
                return
            if failures:
                self._failed_last.append((self._now_s(), failures, why))
            if self.state is State.CLOSED:
                moved = self._count(successes, failures, why)
            elif self.state is State.HALF_OPEN:
                self._successes += successes
                self._failures += failures
        self._tell(moved)

    def give_back(self, trials: int, epoch: int) -> None:
        """Calls that began in `epoch` ended in a way that says nothing of what this breaker is for: as many others may
        try instead."""
        with self._lock:
            if epoch == self.epoch and self.state is State.HALF_OPEN:
                self._given_back += trials

    def take_trial(self) -> bool:
        """Whether this one call may be sent though the breaker is HALF_OPEN. Without a permit at hand it is noted that
        one is wanted: ask again. Read `epoch` for the call afterwards, and record its result or give it back: a trial
        of which nothing is heard has failed."""
        with self._lock:
            if not self._has_permit():
                return self.allows_direct
            self._used.append(self._permits.popleft()[0])
            self._used_at_s = self._now_s()
            return True

    def offers_trial(self) -> bool:
        """What `take_trial` would say now, without taking it; the wish is noted as well."""
        with self._lock:
            return self._has_permit() or self.allows_direct

    # --- the board's thread ------------------------------------------------------------------------------------------
    def tick(self, *, alone: bool = False) -> None:
        """Time has passed. `alone`: nobody else can be asked, so one trial of this process decides."""
        moved = None
        with self._lock:
            now_s = self._now_s()
            if self.state is State.OPEN and now_s - self.since_s >= self._limits.open_s:
                moved = self._move(State.HALF_OPEN, f"{self._limits.open_s:g} s have passed")
            elif self.state is State.HALF_OPEN and alone:
                moved = self._try_alone(now_s)
        self._tell(moved)

    def end_open_early(self, cause: str) -> None:
        """Something says that trying is worth it before the time is over."""
        moved = None
        with self._lock:
            if self.state is State.OPEN:
                moved = self._move(State.HALF_OPEN, cause)
        self._tell(moved)

    def obey(self, number: int, kind: str, by: str, reason: str) -> None:
        """An operator's word, once: the same or an older one changes nothing."""
        moved = None
        with self._lock:
            if number <= self.override:
                return
            self.override = number
            if self.state is not _OBEYED[kind]:
                moved = self._move(_OBEYED[kind], reason, by)
        self._tell(moved)

    def adopt(self, standing: Standing) -> None:
        """What the processes agree on, unless this one has moved on meanwhile."""
        moved = None
        with self._lock:
            if standing.epoch < self.epoch:
                return
            if (standing.epoch, standing.state) != (self.epoch, self.state):
                moved = self._move(standing.state, standing.cause, standing.by)
            self.epoch, self.override = standing.epoch, standing.override
            self.since_s, self.cause, self.by = self._now_s() - standing.age_s, standing.cause, standing.by
        self._tell(moved)

    def standing(self) -> Standing:
        """Where it stands now."""
        with self._lock:
            age_s = self._now_s() - self.since_s
            return Standing(self.state, self.epoch, age_s, self.cause, self.by, self.override)

    def window(self) -> Window:
        """What it decides by now, and what failed last. Any thread."""
        with self._lock:
            now_s = self._now_s()
            last = tuple(FailedCalls(now_s - at_s, calls, why) for at_s, calls, why in reversed(self._failed_last))
            return Window(len(self._calls), sum(self._calls), last)

    def trial_report(self) -> TrialReport:
        """What has not been told yet of this process's trials."""
        with self._lock:
            wanted = self._wanted and not self._permits
            used, given_back = tuple(self._used), self._given_back
            return TrialReport(self.epoch, used, self._successes, self._failures, given_back, wanted)

    def reported(self, report: TrialReport, permits: Sequence[str], asked_at_s: float) -> None:
        """The report has arrived and brought permits, which end `permit_s` after they were asked for."""
        with self._lock:
            if report.epoch != self.epoch:
                return
            del self._used[: len(report.used)]
            self._successes -= report.successes
            self._failures -= report.failures
            self._given_back -= report.given_back
            self._wanted = False
            self._permits.extend((permit, asked_at_s + self._limits.permit_s) for permit in permits)

    # --- under the lock ----------------------------------------------------------------------------------------------
    def _has_permit(self) -> bool:
        now_s = self._now_s()
        while self._permits and now_s >= self._permits[0][1]:
            self._permits.popleft()
        self._wanted = self.state is State.HALF_OPEN and not self._permits
        return bool(self._permits)

    def _count(self, successes: int, failures: int, why: str) -> Transition | None:
        limits, now_s = self._limits, self._now_s()
        self._calls.extend(repeat(False, min(successes, limits.window_calls)))
        self._calls.extend(repeat(True, min(failures, limits.window_calls)))
        if not failures:
            return None
        self._failed_at_s.extend(repeat(now_s, min(failures, limits.burst_failures)))
        failed, known = sum(self._calls), len(self._calls)
        last = f", the last with {why}" if why else ""
        if known >= limits.min_calls and failed >= limits.failure_ratio * known:
            return self._move(State.OPEN, f"{failed} of the last {known} calls failed{last}")
        if len(self._failed_at_s) == limits.burst_failures and now_s - self._failed_at_s[0] <= limits.burst_s:
            return self._move(State.OPEN, f"{limits.burst_failures} calls failed within {limits.burst_s:g} s{last}")
        return None

    def _try_alone(self, now_s: float) -> Transition | None:
        decided = self._successes + self._failures
        if decided and self._failures >= self._limits.failure_ratio * decided:
            return self._move(State.OPEN, "the trial failed")
        if decided:
            return self._move(State.CLOSED, "the trial succeeded")
        if self._given_back:
            self._used.clear()
            self._given_back = 0
        if self._used and now_s - self._used_at_s >= self._limits.trial_result_s:
            return self._move(State.OPEN, "the trial brought no result")
        if not self._used and not any(now_s < ends_s for _, ends_s in self._permits):
            self._permits = deque([("alone", now_s + self._limits.permit_s)])
        return None

    def _move(self, state: State, cause: str, by: str = "") -> Transition:
        transition = Transition(self.state, state, cause)
        self.epoch += 1
        self.state, self.allows_direct = state, state in (State.CLOSED, State.DISABLED)
        self.since_s, self.cause, self.by = self._now_s(), cause, by
        self._calls.clear()
        self._failed_at_s.clear()
        self._permits.clear()
        self._used.clear()
        self._successes = self._failures = self._given_back = 0
        self._wanted = False
        return transition

    # --- outside of it -----------------------------------------------------------------------------------------------
    def _tell(self, moved: Transition | None) -> None:
        if moved is not None and moved.old is not moved.new:
            self._on_transition(self, moved.old, moved.new, moved.cause)


def take_trials(*breakers: Breaker) -> bool:
    """Whether one call may be sent that all of them concern: it is a trial of each that is HALF_OPEN, or of none.

    A trial of the cluster's that is taken while the topic's refuses would bring no result, and so count as failed."""
    offers = [breaker.offers_trial() for breaker in breakers]  # each is asked, so that each knows what is wanted
    return all(offers) and all(breaker.take_trial() for breaker in breakers)
