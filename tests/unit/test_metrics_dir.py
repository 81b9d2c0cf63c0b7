"""The shared metrics directory: what the supervisor empties, and whose gauges it takes away."""

import os
import subprocess
import sys
from pathlib import Path

from forebay.local import metrics_dir
from forebay.local.supervisor import Supervisor


def test_metrics_of_an_earlier_run_are_wiped_before_any_child_starts(tmp_path: Path) -> None:
    metrics_path = tmp_path / "metrics"
    metrics_path.mkdir()
    (metrics_path / "counter_123.db").touch()
    (metrics_path / "notes.txt").touch()

    with Supervisor(metrics_path=metrics_path, log_dir=None, say=print):
        left = [file.name for file in metrics_path.iterdir()]

    assert left == ["notes.txt"]


def test_live_gauges_of_the_dead_and_of_strangers_go_and_counters_stay(tmp_path: Path) -> None:
    ours = os.getpid()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    # Not pid 1: where the suite is a container's own command that is in the session of the suite.
    waits_for_its_input = [sys.executable, "-c", "input()"]
    with subprocess.Popen(waits_for_its_input, stdin=subprocess.PIPE, start_new_session=True) as stranger:
        for pid in (ours, stranger.pid, dead.pid):
            (tmp_path / f"gauge_livesum_{pid}.db").touch()
            (tmp_path / f"counter_{pid}.db").touch()

        marked = metrics_dir.mark_dead(tmp_path, {os.getsid(0)})
        stranger.kill()

    assert marked == {stranger.pid, dead.pid}
    assert [file.name for file in tmp_path.glob("gauge_*")] == [f"gauge_livesum_{ours}.db"]
    assert len(list(tmp_path.glob("counter_*"))) == 3
