"""How a program of this machine is started: the command line and its surroundings, and the one error that says why not.

Neither plane: used by `manage.py up` and by the tests. Nothing here starts a process: the caller does, and ends it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Told what is going on while something takes its time, a line each.
Say = Callable[[str], None]


class LocalServiceError(Exception):
    """A local service cannot be had or does not answer; the text is one line that says what to do."""


@dataclass(frozen=True)
class Command:
    """A program that runs in the foreground until it is ended; `env` is added to the caller's environment."""

    argv: list[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
