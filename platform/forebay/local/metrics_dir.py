"""The directory in which the processes of one node share their Prometheus values (PROMETHEUS_MULTIPROC_DIR).

Only the supervisor empties it, before any child starts: counters of an earlier run would otherwise be added to this
one's. It also takes away the live gauges of processes that died, or a dead worker would stay in every sum.
"""

import re
from collections.abc import Collection
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from forebay.local.processes import session_of

LIVE_GAUGE = re.compile(r"gauge_live[a-z]*_(\d+)\.db")


def empty(path: Path) -> None:
    """Make the directory if needed and remove what earlier processes left: only value files, nothing else."""
    path.mkdir(parents=True, exist_ok=True)
    for file in path.glob("*.db"):
        file.unlink(missing_ok=True)


def mark_dead(path: Path, sessions: Collection[int]) -> set[int]:
    """Drop the live gauges of every pid that is in none of our sessions; a pid that a stranger got is dead to us."""
    pids = {int(match[1]) for file in path.glob("gauge_live*.db") if (match := LIVE_GAUGE.fullmatch(file.name))}
    dead = {pid for pid in pids if session_of(pid) not in sessions}
    for pid in dead:
        mark_process_dead(pid, str(path))  # type: ignore[no-untyped-call]  # the library leaves it untyped
    return dead
