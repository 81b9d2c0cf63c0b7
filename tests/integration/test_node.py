"""A node as its own processes: that it starts, loses a worker, stops and dies as tests of faults assume."""

from collections.abc import Callable

from tests.node import Node
from tests.programs import descendants_of, poll_until, wait_for_exit


def test_a_node_stops_with_all_its_processes(start_node: Callable[..., Node]) -> None:
    node = start_node()
    pids = [node.program.pid, *descendants_of(node.program.pid)]

    exit_code = node.stop()

    assert exit_code == 0
    assert len(pids) > 2
    assert wait_for_exit(pids, deadline_s=0) == []


def test_a_killed_worker_is_replaced(start_node: Callable[..., Node]) -> None:
    node = start_node(environment={"FOREBAY_WORKERS": "2"})
    before = set(node.worker_pids())

    killed = node.kill_worker()

    assert len(before) == 2
    assert poll_until(lambda: len(set(node.worker_pids()) - {killed}) == 2, deadline_s=30)
    assert before - {killed} < set(node.worker_pids())


def test_a_killed_node_leaves_nothing_and_starts_again(start_node: Callable[..., Node]) -> None:
    node = start_node()
    pids = descendants_of(node.program.pid)

    node.kill()
    left = wait_for_exit(pids, deadline_s=10)
    node.start()

    assert left == []
    assert node.is_ready()
    assert len(pids) > 1
