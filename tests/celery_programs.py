"""A Celery worker and a beat as a node runs them, which a test may kill."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forebay.local.command import Command
from tests.node import ROOT
from tests.programs import Program, children_of


class Celery:
    """A Celery worker and a beat on the test's database; the worker is killed and started again."""

    def __init__(self, var_dir: Path, environment: dict[str, str]) -> None:
        self._var_dir, self._environment = var_dir, {"FOREBAY_VAR_DIR": str(var_dir), **environment}
        self._beat = self._program("beat")
        self._worker = self._program("worker", "--concurrency", "1", "--without-gossip", "--without-mingle")

    def kill_child(self) -> None:
        """The process that sends; its parent makes another."""
        children = children_of(self._worker.pid)
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        assert children

    def kill_worker(self) -> None:
        """The whole worker, which is then started again, as a supervisor does."""
        self._worker.kill()
        self._worker = self._program("worker", "--concurrency", "1", "--without-gossip", "--without-mingle")

    def stop(self) -> None:
        for program in (self._worker, self._beat):
            program.kill()
            print(program.log_tail(10))

    def _program(self, role: str, *options: str) -> Program:
        argv = [sys.executable, "-m", "celery", "-A", "forebay.celery", role, *options, "--loglevel", "WARNING"]
        paths = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
        environment = {"PYTHONPATH": paths, "DJANGO_SETTINGS_MODULE": "forebay.settings", **self._environment}
        return Program(Command(argv, ROOT, environment), self._var_dir / f"{role}.log")


@contextmanager
def celery(var_dir: Path, **environment: str) -> Iterator[Celery]:
    running = Celery(var_dir, environment)
    try:
        yield running
    finally:
        running.stop()
