"""A node as its own processes: that it starts, loses a worker, stops and dies as tests of faults assume."""

from collections.abc import Callable

from tests.node import Node
from tests.programs import descendants_of, wait_for_exit


def test_a_node_stops_with_all_its_processes(start_node: Callable[..., Node]) -> None:
    node = start_node()
    pids = [node.program.pid, *descendants_of(node.program.pid)]

    exit_code = node.stop()

    assert exit_code == 0
    assert len(pids) > 2
    assert wait_for_exit(pids, deadline_s=0) == []


def test_a_killed_worker_is_replaced(start_node: Callable[..., Node]) -> None:
    node = start_node()
    before = node.worker_pids()

    killed = node.kill_worker()
    node.wait_until_ready()

    assert before == [killed]
    assert len(node.worker_pids()) == 1
    assert node.worker_pids() != before


def test_a_killed_node_leaves_nothing_and_starts_again(start_node: Callable[..., Node]) -> None:
    node = start_node()
    pids = descendants_of(node.program.pid)

    node.kill()
    left = wait_for_exit(pids, deadline_s=10)
    node.start()

    assert left == []
    assert node.is_ready()
    assert len(pids) > 1
