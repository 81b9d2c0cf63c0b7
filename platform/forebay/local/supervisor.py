"""The one supervisor behind `manage.py up` and `manage.py serve` (ADR 0013): starts, watches and stops children.

It owns every process of the node: their order, their logs, their restarts and their end. Children are started in
stages; the stages are stopped in the opposite order, so what others depend on goes last. One thread, the main one.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from forebay.local import metrics_dir
from forebay.local.child import Child, RunningChild
from forebay.local.stop_signals import StopSignals

POLL_S = 0.05
WATCH_S = 0.2
MARK_DEAD_EVERY_S = 2.0
GROUP_GONE_WITHIN_S = 5.0
STEADY_AFTER_S = 60.0


class ChildFailed(Exception):
    """A child did not come up, or died and cannot be started again. The text is for a person to read."""

    def __init__(self, running: RunningChild, what: str) -> None:
        lines = running.last_lines()
        where = f"; the end of {running.log_file}:" if lines else ""
        super().__init__("\n  | ".join([f"{running.child.name} {what} ({running.ending()}){where}", *lines]))


@dataclass
class Place:
    """A child's place in its stage: its present life, or when the next one begins."""

    running: RunningChild
    early_deaths: int = 0
    restart_at_s: float | None = field(default=None)


class Supervisor:
    """Context manager: on leaving it, for whatever reason, nothing that it started is left."""

    def __init__(
        self,
        *,
        metrics_path: Path,
        log_dir: Path | None,
        say: Callable[[str], None],
        kept_fds: Sequence[int] = (),
        restart_delays_s: Sequence[float] = (1, 2, 4, 8, 16, 30),
    ) -> None:
        self.signals = StopSignals()
        self._metrics_path = metrics_path
        self._log_dir = log_dir
        self._say = say
        self._kept_fds = kept_fds
        self._restart_delays_s = restart_delays_s
        self._stages: list[list[Place]] = []

    def __enter__(self) -> Self:
        metrics_dir.empty(self._metrics_path)
        self.signals.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.stop()
        finally:
            self.signals.__exit__(kind, error, at)

    @property
    def places(self) -> list[Place]:
        """Every child, in the order of starting."""
        return [place for stage in self._stages for place in stage]

    def start(self, *children: Child) -> None:
        """Start one stage and wait until it and all before it are ready. Raises ChildFailed or StopAsked."""
        self.launch(*children)
        for place in self.places:
            self._wait_until_ready(place.running)

    def launch(self, *children: Child) -> None:
        """Start one stage without waiting; the next start() does."""
        self.signals.raise_if_asked()
        stage: list[Place] = []
        self._stages.append(stage)
        stage.extend(Place(self._spawn(child)) for child in children)

    def run(self) -> None:
        """Watch the children until a signal asks to stop. Raises ChildFailed when one dies that has no second life."""
        mark_dead_at_s = 0.0
        while not self.signals.asked:
            for place in self.places:
                self._watch(place)
            if time.monotonic() >= mark_dead_at_s:
                metrics_dir.mark_dead(self._metrics_path, {place.running.pid for place in self.places})
                mark_dead_at_s = time.monotonic() + MARK_DEAD_EVERY_S
            self.signals.wait(WATCH_S)

    def stop(self) -> None:
        """Stop all stages, last first; safe to call twice."""
        while self._stages:
            _stop_stage([place.running for place in self._stages[-1]], self.signals, self._say)
            self._stages.pop()

    def _spawn(self, child: Child) -> RunningChild:
        log_file = self._log_dir / f"{child.name}.log" if self._log_dir else None
        return RunningChild(child, log_file, self._kept_fds)

    def _wait_until_ready(self, running: RunningChild) -> None:
        child = running.child
        deadline_s = time.monotonic() + child.ready_timeout_s
        while True:
            self.signals.raise_if_asked()
            self._fail_if_any_ended()
            reason = running.not_ready_because()
            if reason is None:
                return
            if time.monotonic() > deadline_s:
                raise ChildFailed(running, f"was not ready within {child.ready_timeout_s:.0f} s: {reason}")
            self.signals.wait(POLL_S)

    def _fail_if_any_ended(self) -> None:
        for place in self.places:
            if place.running.has_ended():
                raise ChildFailed(place.running, "failed to start")

    def _watch(self, place: Place) -> None:
        if place.restart_at_s is not None:
            if time.monotonic() >= place.restart_at_s:
                place.running, place.restart_at_s = self._spawn(place.running.child), None
        elif place.running.has_ended():
            self._plan_restart(place)

    def _plan_restart(self, place: Place) -> None:
        running = place.running
        if not running.child.restarts:
            raise ChildFailed(running, "ended, and what it held is lost")
        steady = time.monotonic() - running.started_s > STEADY_AFTER_S
        place.early_deaths = 0 if steady else place.early_deaths
        delay_s = self._restart_delays_s[min(place.early_deaths, len(self._restart_delays_s) - 1)]
        place.early_deaths += 1
        place.restart_at_s = time.monotonic() + delay_s
        see = f"; see {running.log_file}" if running.log_file else ""
        self._say(f"{running.child.name} ended ({running.ending()}), starts again in {delay_s:g} s{see}")


def _stop_stage(stage: Sequence[RunningChild], signals: StopSignals, say: Callable[[str], None]) -> None:
    for running in stage:
        running.terminate()
    asked_s = time.monotonic()
    patient = list(stage)
    while not all(running.has_ended() for running in stage):
        for running in list(patient):
            overdue = time.monotonic() - asked_s > running.child.grace_s
            if overdue or signals.impatient:
                patient.remove(running)
                _kill(running, overdue, say)
        signals.wait(POLL_S)
    _wait_until_gone(stage)


def _kill(running: RunningChild, overdue: bool, say: Callable[[str], None]) -> None:
    if overdue and not running.has_ended():
        say(f"{running.child.name} did not stop within {running.child.grace_s:g} s and is killed")
    running.kill()


def _wait_until_gone(stage: Sequence[RunningChild]) -> None:
    """A killed grandchild holds its port until the kernel is done with it; bounded, should init never reap it."""
    deadline_s = time.monotonic() + GROUP_GONE_WITHIN_S
    while time.monotonic() < deadline_s and not all(running.group_is_empty() for running in stage):
        time.sleep(0.01)
