"""The supervisor with real processes: small programs that behave well, refuse to stop, fork, or die."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forebay.local.child import Child
from forebay.local.stop_signals import StopAsked
from forebay.local.supervisor import ChildFailed, Supervisor

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 20.0

SLEEPS = "import time; time.sleep(600)"
IGNORES_SIGTERM = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
# A leader that stops when told, and leaves behind a grandchild that does not.
FORKS_A_STUBBORN_GRANDCHILD = """
import os, pathlib, signal, sys, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    partial = pathlib.Path(sys.argv[1] + ".partial")
    partial.write_text(str(os.getpid()))
    partial.rename(sys.argv[1])
time.sleep(600)
"""
TELLS_WHEN_IT_STOPS = """
import pathlib, signal, sys, time
def stop(number, frame):
    with open(sys.argv[1], "a") as told:
        told.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1] + "." + sys.argv[2]).touch()
time.sleep(600)
"""
DIES_AT_START = "import sys; print('port 7 is taken'); sys.exit(3)"
# A supervisor of its own process, to be killed or signalled from outside: argv is its directory, then the child.
SUPERVISES = """
import pathlib, sys
from forebay.local.child import Child
from forebay.local.supervisor import Supervisor
here = pathlib.Path(sys.argv[1])
child = Child("sleeper", sys.argv[2:], cwd=here)
with Supervisor(metrics_path=here / "metrics", log_dir=here, say=print) as supervisor:
    supervisor.start(child)
    (here / "pid").write_text(str(supervisor.places[0].running.pid))
    (here / "supervising").touch()
    supervisor.run()
"""


class Said(list[str]):
    """What the supervisor told its user."""

    @property
    def text(self) -> str:
        return "\n".join(self)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def supervisor(tmp_path: Path, said: Said) -> Iterator[Supervisor]:
    with Supervisor(
        metrics_path=tmp_path / "metrics", log_dir=tmp_path / "log", say=said.append, restart_delays_s=(0.01,)
    ) as supervisor:
        yield supervisor


def program(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-I", "-c", code, *map(str, arguments)]


def never() -> str:
    return "it does not answer"


def until(file: Path) -> Callable[[], str | None]:
    return lambda: None if file.exists() else f"{file} is not there"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "the awaited condition did not come"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_child_that_dies_at_start_is_named_with_its_last_lines(supervisor: Supervisor, tmp_path: Path) -> None:
    child = Child("web", program(DIES_AT_START), cwd=tmp_path, not_ready_because=never)

    with pytest.raises(ChildFailed) as failed:
        supervisor.start(child)

    assert str(failed.value).splitlines()[0].startswith("web failed to start (exit status 3)")
    assert "port 7 is taken" in str(failed.value)


def test_a_program_that_does_not_exist_is_said_in_one_line(supervisor: Supervisor, tmp_path: Path) -> None:
    child = Child("kafka", ["/nowhere/java"], cwd=tmp_path, not_ready_because=never)

    with pytest.raises(ChildFailed, match="cannot start /nowhere/java: No such file"):
        supervisor.start(child)


def test_a_failed_child_shows_nothing_of_an_earlier_run(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "web.log").write_text("yesterday's trouble\n")
    child = Child("web", program(DIES_AT_START), cwd=tmp_path, not_ready_because=never)

    with pytest.raises(ChildFailed) as failed:
        supervisor.start(child)

    assert "yesterday" not in str(failed.value)


def test_a_child_that_never_gets_ready_fails_and_the_others_are_stopped(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(Child("redis", program(SLEEPS), cwd=tmp_path))
    redis_pid = supervisor.places[0].running.pid
    late = Child("web", program(SLEEPS), cwd=tmp_path, not_ready_because=never, ready_timeout_s=0.1)

    with pytest.raises(ChildFailed, match="was not ready within 0 s: it does not answer"):
        supervisor.start(late)
    supervisor.stop()

    assert not is_alive(redis_pid)


def test_a_launched_child_that_dies_fails_the_next_start(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.launch(Child("beat", program(DIES_AT_START), cwd=tmp_path, settles_s=DEADLINE_S))

    with pytest.raises(ChildFailed, match="beat failed to start"):
        supervisor.start(Child("web", program(SLEEPS), cwd=tmp_path))


def test_a_child_that_cannot_tell_is_ready_after_it_has_lived_a_while(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(Child("beat", program(SLEEPS), cwd=tmp_path, settles_s=0.2))

    assert time.monotonic() - supervisor.places[0].running.started_s >= 0.2


def test_stages_stop_in_the_opposite_order_of_their_start(supervisor: Supervisor, tmp_path: Path) -> None:
    told = tmp_path / "told"
    for name in ("redis", "kafka", "web"):
        ready = tmp_path / f"told.{name}"
        argv = program(TELLS_WHEN_IT_STOPS, told, name)
        supervisor.start(Child(name, argv, cwd=tmp_path, not_ready_because=until(ready)))

    supervisor.stop()

    assert told.read_text().split() == ["web", "kafka", "redis"]


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(
    supervisor: Supervisor, said: Said, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    argv = program(IGNORES_SIGTERM, ready)
    supervisor.start(Child("worker", argv, cwd=tmp_path, not_ready_because=until(ready), grace_s=0.2))
    running = supervisor.places[0].running

    supervisor.stop()

    assert running.ending() == "killed by SIGKILL"
    assert said == ["worker did not stop within 0.2 s and is killed"]


def test_a_grandchild_that_ignores_sigterm_does_not_outlive_the_stop(supervisor: Supervisor, tmp_path: Path) -> None:
    pid_file = tmp_path / "grandchild"
    argv = program(FORKS_A_STUBBORN_GRANDCHILD, pid_file)
    supervisor.start(Child("web", argv, cwd=tmp_path, not_ready_because=until(pid_file)))
    grandchild_pid = int(pid_file.read_text())

    supervisor.stop()

    assert not is_alive(grandchild_pid)


def test_a_child_that_dies_later_is_started_again_and_said(supervisor: Supervisor, said: Said, tmp_path: Path) -> None:
    supervisor.start(Child("builder", program(SLEEPS), cwd=tmp_path))
    first_pid = supervisor.places[0].running.pid
    os.kill(first_pid, signal.SIGKILL)

    with asked_to_stop_when(lambda: supervisor.places[0].running.pid != first_pid):
        supervisor.run()

    assert is_alive(supervisor.places[0].running.pid)
    assert said.text.startswith("builder ended (killed by SIGKILL), starts again in 0.01 s; see ")


def test_what_a_dead_leader_left_behind_is_gone_before_it_starts_again(supervisor: Supervisor, tmp_path: Path) -> None:
    pid_file = tmp_path / "grandchild"
    argv = program(FORKS_A_STUBBORN_GRANDCHILD, pid_file)
    supervisor.start(Child("web", argv, cwd=tmp_path, not_ready_because=until(pid_file)))
    first_pid, grandchild_pid = supervisor.places[0].running.pid, int(pid_file.read_text())
    os.kill(first_pid, signal.SIGKILL)

    with asked_to_stop_when(lambda: supervisor.places[0].running.pid != first_pid):
        supervisor.run()

    assert not is_alive(grandchild_pid)


def test_a_child_without_a_second_life_ends_the_run(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(Child("kafka", program(SLEEPS), cwd=tmp_path, restarts=False))
    os.kill(supervisor.places[0].running.pid, signal.SIGKILL)

    with pytest.raises(ChildFailed, match="kafka ended, and what it held is lost"):
        supervisor.run()


def test_restarts_are_spaced_wider_and_wider(tmp_path: Path, said: Said) -> None:
    with Supervisor(
        metrics_path=tmp_path / "metrics", log_dir=None, say=said.append, restart_delays_s=(0.01, 0.02, 0.03)
    ) as supervisor:
        supervisor.start(Child("beat", program("import time; time.sleep(0.3)"), cwd=tmp_path))

        with asked_to_stop_when(lambda: len(said) == 4):
            supervisor.run()

    assert [line.rpartition(" in ")[2] for line in said] == ["0.01 s", "0.02 s", "0.03 s", "0.03 s"]


def test_a_signal_while_starting_stops_at_once_and_leaves_nothing(supervisor: Supervisor, tmp_path: Path) -> None:
    child = Child("kafka", program(SLEEPS), cwd=tmp_path, not_ready_because=never)

    with pytest.raises(StopAsked), asked_to_stop_when(lambda: bool(supervisor.places)):
        supervisor.start(child)
    pid = supervisor.places[0].running.pid
    supervisor.stop()

    assert not is_alive(pid)


def test_a_second_ctrl_c_kills_what_is_still_stopping(supervisor: Supervisor, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    argv = program(IGNORES_SIGTERM, ready)
    supervisor.start(Child("worker", argv, cwd=tmp_path, not_ready_because=until(ready), grace_s=600))
    running = supervisor.places[0].running
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)

    supervisor.stop()

    assert running.ending() == "killed by SIGKILL"


def test_a_repeated_sigterm_stays_patient(supervisor: Supervisor) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)

    supervisor.stop()

    assert (supervisor.signals.asked, supervisor.signals.impatient) == (True, False)


def test_a_signal_interrupts_preparations_only_where_that_is_said(supervisor: Supervisor) -> None:
    with (
        pytest.raises(StopAsked),
        asked_to_stop_when(lambda: True),
        supervisor.signals.interrupting(),
    ):
        time.sleep(DEADLINE_S)

    assert supervisor.signals.asked


def test_a_killed_supervisor_takes_its_children_with_it(tmp_path: Path) -> None:
    supervising = start_supervising(tmp_path, program(SLEEPS))
    child_pid = int((tmp_path / "pid").read_text())

    supervising.kill()
    supervising.wait()

    wait_for(lambda: not is_alive(child_pid))


def test_a_supervisor_that_is_told_to_stop_ends_with_zero(tmp_path: Path) -> None:
    supervising = start_supervising(tmp_path, program(SLEEPS))
    child_pid = int((tmp_path / "pid").read_text())

    supervising.terminate()

    assert supervising.wait(timeout=DEADLINE_S) == 0
    assert not is_alive(child_pid)


def test_a_child_whose_parent_died_before_it_could_ask_does_not_start(tmp_path: Path) -> None:
    leash = ROOT / "platform" / "forebay" / "local" / "leash.py"
    not_our_parent_pid = 1

    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(leash), str(not_our_parent_pid), "touch", str(tmp_path / "started")],
        check=False,
    )

    assert ended.returncode == 125
    assert not (tmp_path / "started").exists()


def test_a_child_does_not_inherit_ignored_signals(tmp_path: Path) -> None:
    supervising = start_supervising(tmp_path, ["sleep", "600"])
    status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/status")

    wait_for(lambda: status.read_text().startswith("Name:\tsleep"))
    ignored = ignored_signals(status)
    supervising.terminate()
    supervising.wait()

    # A suite that runs in the background of a shell ignores SIGQUIT itself, and hands that on.
    assert ignored <= ignored_signals(Path("/proc/self/status")) - {signal.SIGINT, signal.SIGTERM}
    assert supervising.wait(timeout=DEADLINE_S) == 0


def test_a_large_log_is_set_aside(tmp_path: Path, said: Said) -> None:
    log = tmp_path / "web.log"
    with log.open("wb") as file:
        file.truncate(17 << 20)

    with Supervisor(metrics_path=tmp_path / "metrics", log_dir=tmp_path, say=said.append) as supervisor:
        supervisor.start(Child("web", program("print('fresh')"), cwd=tmp_path))
        wait_for(lambda: supervisor.places[0].running.has_ended())

    assert log.read_text() == "fresh\n"
    assert (tmp_path / "web.log.1").stat().st_size == 17 << 20


@contextmanager
def asked_to_stop_when(condition: Callable[[], bool]) -> Iterator[None]:
    """Within, a SIGTERM comes to this process as soon as the condition holds, as `docker stop` would send one."""
    over = threading.Event()

    def watch() -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition() and time.monotonic() < deadline_s:
            if over.wait(0.01):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def start_supervising(here: Path, argv: list[str]) -> subprocess.Popen[bytes]:
    supervising = subprocess.Popen(
        [sys.executable, "-c", SUPERVISES, str(here), *argv], env={**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    )
    wait_for((here / "supervising").exists)
    return supervising


def ignored_signals(status: Path) -> set[signal.Signals]:
    mask = next(int(line.split()[1], 16) for line in status.read_text().splitlines() if line.startswith("SigIgn"))
    return {number for number in signal.Signals if mask & (1 << (number - 1))}
