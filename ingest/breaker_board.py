"""The breakers of a worker, its cluster's and its topics', and the thread that keeps them in step with other processes.

Data plane's composition; one board a worker. Request threads, drain and poll thread ask and tell the breakers, which
never wait; the board's thread alone speaks with Redis, seven times a second, and moves time on. While Redis is away
every process decides for itself; when it is back, the highest epoch wins.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable

from redis import Redis, RedisError

from ingest.breaker_store import BreakerStore
from ingest.dataplane import metrics
from ingest.dataplane.breaker import Breaker, BreakerLimits, OnTransition, State, tell_nobody
from ingest.dataplane.policy import OverridePolicy

log = logging.getLogger(__name__)

LOOK_S = 0.15
# Redis that said nothing for so long is away: a single slow answer must not give each process a trial of its own.
AWAY_S = 1.0
PROBE_S = 2.0
# A cluster that has only just failed would often still answer a probe.
PROBE_AFTER_S = 5.0
_CLUSTER_LABEL = "_cluster"
_LEVELS = {State.CLOSED: 0, State.DISABLED: 1, State.HALF_OPEN: 2, State.OPEN: 3, State.FORCED_OPEN: 4}

Probe = Callable[[], Collection[str] | None]
"""Names of the topics that can be written to, as a broker says; None when none answers. May block for seconds."""


class BreakerBoard:
    """`redis` None: this process is alone. `on_transition` is called by whichever thread moved a breaker, outside all
    locks of breakers, and must not wait."""

    def __init__(
        self,
        redis: Redis | None,
        worker: str,
        limits: BreakerLimits,
        *,
        now_s: Callable[[], float] = time.monotonic,
        on_transition: OnTransition = tell_nobody,
        probe: Probe | None = None,
    ) -> None:
        self._store = BreakerStore(redis, worker, limits, now_s) if redis is not None else None
        self._limits, self._now_s, self._on_transition = limits, now_s, on_transition
        self._adding = threading.Lock()
        self._topics: dict[str, Breaker] = {}
        self._overrides: dict[str, OverridePolicy] = {}
        self._version: bytes | None = None
        self._epochs: dict[str, int] = {}
        self._heard_s = now_s()
        self._is_away = False
        self._stop = threading.Event()
        self.cluster = self._make("")
        self._threads = [threading.Thread(target=self._look_for_ever, name="breakers", daemon=True)]
        if probe is not None:
            self._threads.append(
                threading.Thread(target=self._probe_for_ever, args=(probe,), name="breaker-probe", daemon=True)
            )

    def start(self) -> None:
        """Begin to keep in step; the first look is taken here, so that a new worker does not begin by knocking."""
        self.look()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; the breakers stay as they are. A probe that hangs is not waited for: it ends with the process."""
        self._stop.set()
        self._threads[0].join()

    def topic(self, name: str) -> Breaker:
        """The breaker of a topic, made when it is first asked for. Any thread; never waits for Redis."""
        return self._topics.get(name) or self._add(name)

    def apply(self, overrides: Iterable[OverridePolicy]) -> None:
        """What operators say in the newest snapshot; the same again changes nothing. Parking is not a breaker's."""
        self._overrides = {override.topic: override for override in overrides if not override.tenant}
        for topic in self._overrides:
            self._obey(self.topic(topic) if topic else self.cluster)

    def status(self) -> list[dict[str, object]]:
        """Where each breaker of this process stands, the cluster's (`topic` is empty) first."""
        return [
            {"topic": breaker.topic, "state": breaker.state.value, "cause": breaker.cause, "by": breaker.by}
            | {"epoch": breaker.epoch, "since_s": round(self._now_s() - breaker.since_s, 1)}
            for breaker in self._all()
        ]

    def breakers(self) -> list[Breaker]:
        """All of this process, the cluster's first."""
        return self._all()

    def look(self) -> None:
        """One round: time moves on, then Redis is told and asked."""
        for breaker in self._all():
            breaker.tick(alone=self._store is None or self._is_away)
        if self._store is None:
            return
        try:
            self._exchange(self._store)
        except RedisError as error:
            self._heard_nothing(error)
        else:
            self._heard_s, self._is_away = self._now_s(), False

    # --- the board's thread ------------------------------------------------------------------------------------------
    def _look_for_ever(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except Exception:  # breakers must go on moving whatever one round runs into
                log.exception("a look at the breakers failed; the next one follows")

    def _exchange(self, store: BreakerStore) -> None:
        version = store.version()
        if version is None or version != self._version:
            self._epochs, self._version = store.epochs(), version
            # What is open elsewhere must not look closed to the first request that asks.
            for topic in filter(None, self._epochs):
                self.topic(topic)
        for breaker in self._all():
            if breaker.state is State.HALF_OPEN or breaker.epoch != self._epochs.get(breaker.topic, 0):
                self._epochs[breaker.topic] = store.exchange(breaker)
                self._obey(breaker)

    def _heard_nothing(self, error: RedisError) -> None:
        self._version = None
        if not self._is_away and self._now_s() - self._heard_s >= AWAY_S:
            self._is_away = True
            log.warning("Redis does not answer, breakers decide for this process alone: %s", error)

    def _probe_for_ever(self, probe: Probe) -> None:
        while not self._stop.wait(PROBE_S):
            try:
                self.ask(probe)
            except Exception:  # a probe that fails in a new way must not be the last one
                log.exception("the probe of the brokers failed; the next one follows")

    def ask(self, probe: Probe) -> None:
        """Ask the brokers, if anything has been open for a while, and let those try that they say are well."""
        opened = [breaker for breaker in self._all() if self._is_worth_a_probe(breaker)]
        writable = probe() if opened else None
        if writable is None:
            return
        for breaker in opened:
            if not breaker.topic or breaker.topic in writable:
                breaker.end_open_early("a broker answers for it")

    def _is_worth_a_probe(self, breaker: Breaker) -> bool:
        return breaker.state is State.OPEN and self._now_s() - breaker.since_s >= PROBE_AFTER_S

    # --- any thread --------------------------------------------------------------------------------------------------
    def _all(self) -> list[Breaker]:
        return [self.cluster, *self._topics.copy().values()]

    def _add(self, name: str) -> Breaker:
        with self._adding:
            if name not in self._topics:
                self._topics[name] = self._make(name)
            breaker = self._topics[name]
        self._obey(breaker)
        return breaker

    def _make(self, topic: str) -> Breaker:
        metrics.BREAKER_STATE.labels(topic or _CLUSTER_LABEL).set(_LEVELS[State.CLOSED])
        return Breaker(topic, self._limits, self._now_s, self._moved)

    def _obey(self, breaker: Breaker) -> None:
        override = self._overrides.get(breaker.topic)
        if override is not None:
            breaker.obey(override.number, override.kind, override.by, override.reason)

    def _moved(self, breaker: Breaker, old: State, new: State, cause: str) -> None:
        label = breaker.topic or _CLUSTER_LABEL
        metrics.BREAKER_STATE.labels(label).set(_LEVELS[new])
        metrics.BREAKER_TRANSITIONS.labels(label, new.value).inc()
        log.warning("breaker of %s: %s -> %s: %s", breaker.topic or "the cluster", old, new, cause)
        self._on_transition(breaker, old, new, cause)
