"""Keeps all threads of a web worker on one CPU, and moves them when others crowd it (ADR 0013).

Web workers only; one chore, on a thread of its own. Python runs one thread at a time, but the kernel spreads those that
wait for their turn over all CPUs, and each turn is then a wake-up from one CPU to another: ten of them a request. On
one CPU a turn is handed over without any.
"""

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
# It takes this much more foreign load here than elsewhere to move: less would be noise, and moving costs the caches.
MARGIN = 0.3
FIRST_LOOK_S = 0.05
LOOK_INTERVAL_S = 2.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def busy_s(stat: str) -> dict[int, float]:
    """CPU -> seconds spent on anything but waiting, from the text of /proc/stat (proc(5))."""
    busy = {}
    for line in stat.splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _, _, *interrupts = map(int, ticks)
            busy[int(name[3:])] = (user + nice + system + sum(interrupts[:3])) / _TICKS_PER_S
    return busy


def less_crowded(foreign: dict[int, float], current: int | None) -> int:
    """Where to be: `foreign` is the share of each CPU that others took."""
    best = min(foreign, key=lambda cpu: foreign[cpu])
    if current is None or foreign.get(current, 1.0) - foreign[best] > MARGIN:
        return best
    return current


class OneCpu:
    """Chooses among the CPUs that the process was started with."""

    def __init__(self) -> None:
        self.allowed = os.sched_getaffinity(0)
        self.cpu: int | None = None
        self._sample()
        time.sleep(FIRST_LOOK_S)

    def look(self) -> None:
        """Move to a CPU that others use less, if there is one that is worth it."""
        before_s, before_busy_s, before_own_s = self._seen
        self._sample()
        now_s, now_busy_s, own_s = self._seen
        elapsed_s = max(now_s - before_s, 1e-9)
        foreign = {
            cpu: (now_busy_s[cpu] - before_busy_s.get(cpu, 0.0)) / elapsed_s
            for cpu in self.allowed
            if cpu in now_busy_s
        }
        if self.cpu in foreign:
            foreign[self.cpu] -= (own_s - before_own_s) / elapsed_s
        if foreign:
            self._move(less_crowded(foreign, self.cpu))

    def _sample(self) -> None:
        self._seen = (time.monotonic(), busy_s(STAT.read_text()), time.process_time())

    def _move(self, cpu: int) -> None:
        if cpu == self.cpu:
            return
        self.cpu = cpu
        # A thread that begins later inherits the CPU of the one that began it.
        for task in os.listdir("/proc/self/task"):
            try:
                os.sched_setaffinity(int(task), {cpu})
            except ProcessLookupError:
                pass  # it ended meanwhile
