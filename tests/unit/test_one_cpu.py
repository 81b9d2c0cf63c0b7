"""Unit: a worker keeps to one CPU and leaves it when others crowd it."""

import os
import subprocess
import sys
from pathlib import Path

from forebay.one_cpu import MARGIN, busy_s, less_crowded

ROOT = Path(__file__).resolve().parents[2]
STAT = """cpu  300 0 100 800 0 0 0 0 0 0
cpu0 200 10 50 400 7 1 2 3 0 0
cpu1 100 0 50 400 0 0 0 0 0 0
intr 12345
"""


def test_busy_is_all_but_idle_and_waiting_for_disks() -> None:
    ticks_per_s = os.sysconf("SC_CLK_TCK")

    busy = busy_s(STAT)

    assert busy == {0: 266 / ticks_per_s, 1: 150 / ticks_per_s}


def test_the_first_choice_is_the_idlest() -> None:
    assert less_crowded({0: 0.9, 1: 0.2, 2: 0.5}, None) == 1


def test_it_moves_when_others_crowd_it_by_more_than_the_margin() -> None:
    assert less_crowded({0: 0.1 + 2 * MARGIN, 1: 0.1}, 0) == 1


def test_it_stays_while_the_difference_is_noise() -> None:
    assert less_crowded({0: 0.1 + MARGIN / 2, 1: 0.1}, 0) == 0


def test_a_cpu_that_is_no_longer_there_is_left() -> None:
    assert less_crowded({1: 0.2}, 0) == 1


def test_all_threads_of_a_process_end_up_on_one_allowed_cpu() -> None:
    program = """
import os, threading
from forebay.one_cpu import OneCpu
stop = threading.Event()
threads = [threading.Thread(target=stop.wait) for _ in range(4)]
[thread.start() for thread in threads]
one = OneCpu()
one.look()
late = threading.Thread(target=stop.wait)
late.start()
print([sorted(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")], one.cpu in one.allowed)
stop.set()
"""

    told = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "platform", capture_output=True, text=True, check=True
    ).stdout

    cpus, is_allowed = told.rsplit(" ", 1)
    assert len(set(cpus.strip("[] ").split("], ["))) == 1, told
    assert cpus.count("[") == 7, told
    assert is_allowed.strip() == "True"
