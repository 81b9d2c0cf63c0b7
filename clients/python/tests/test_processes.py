"""Processes that end and processes that fork: everything is sent once, by the process that it belongs to."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import textwrap

import pytest
from stub import REFUSED, Answer, Stub

BEGIN = """
import logging, os, sys, multiprocessing, threading
from forebay_client import ForebayHandler, Client, Event
linger_s = float(os.environ.get("LINGER_S", "60"))
handler = ForebayHandler(os.environ["URL"], "k", source="shop", linger_s=linger_s, exit_timeout_s=30)
logging.getLogger().addHandler(handler)
logging.getLogger().setLevel(logging.INFO)
"""


def run(stub: Stub, code: str, exit_code: int = 0, **environment: str) -> str:
    """A program that logs by `code`; returns its standard error."""
    path = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", BEGIN + textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path, "URL": stub.url, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == exit_code, done.stderr
    return done.stderr


def messages(stub: Stub) -> list[str]:
    return sorted(event["message"] for event in stub.events)


@pytest.mark.parametrize(("ending", "exit_code"), [("", 0), ("sys.exit(3)", 3), ("raise SystemExit(4)", 4), ("1/0", 1)])
def test_a_program_that_ends_sends_what_it_logged(stub: Stub, ending: str, exit_code: int) -> None:
    run(stub, f"[logging.info('number %d', at) for at in range(1200)]\n{ending}", exit_code)

    assert len(messages(stub)) == 1200


def test_what_is_logged_by_the_last_exit_function_is_sent_too(stub: Stub) -> None:
    run(stub, "import atexit\natexit.register(logging.info, 'last words')")

    assert messages(stub) == ["last words"]


def test_a_program_ends_in_time_without_a_server(stub: Stub) -> None:
    stub.otherwise = Answer(503, {}, {"Retry-After": "60"})

    said = run(stub, "logging.info('m')", LINGER_S="0.01")

    assert "Traceback" not in said


def test_each_forked_worker_sends_its_own_and_nothing_of_its_parent(stub: Stub) -> None:
    run(
        stub,
        """
        logging.info("of the parent")  # waits in its buffer while it forks
        pids = []
        for worker in range(4):
            pid = os.fork()
            if pid == 0:
                for at in range(100):
                    logging.info("of worker %d: %d", worker, at)
                sys.exit()
            pids.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
        """,
    )

    expected = [f"of worker {worker}: {at}" for worker in range(4) for at in range(100)]
    assert messages(stub) == sorted([*expected, "of the parent"])
    assert len({event["eventId"] for event in stub.events}) == 401


def test_forks_while_the_parent_is_sending_and_waits_for_its_answer_deadlock_nobody(stub: Stub) -> None:
    stub.answer = lambda _: Answer(delay_s=0.05)

    run(
        stub,
        """
        over = threading.Event()
        def log():
            at = 0
            while not over.wait(0.002):
                logging.info("of the parent: %d", at)
                at += 1
            logging.info("parent ends with %d", at)
        thread = threading.Thread(target=log)
        thread.start()
        for worker in range(20):
            pid = os.fork()
            if pid == 0:
                logging.info("of worker %d", worker)
                handler.flush()
                os._exit(0 if handler.client.counters().accepted == 1 else 1)
            assert os.waitpid(pid, 0)[1] == 0
        over.set()
        thread.join()
        """,
        LINGER_S="0.01",
    )

    arrived = messages(stub)
    count = next(int(one.split()[-1]) for one in arrived if one.startswith("parent ends"))
    kinds = collections.Counter(one.partition(":")[0] for one in arrived)
    assert kinds["of the parent"] == count
    assert sum(kinds[f"of worker {worker}"] for worker in range(20)) == 20


def test_a_process_of_multiprocessing_sends_what_it_logged(stub: Stub) -> None:
    run(
        stub,
        """
        def work(worker):
            logging.info("of worker %d", worker)
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=work, args=(at,)) for at in range(3)]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
        """,
    )

    assert messages(stub) == ["of worker 0", "of worker 1", "of worker 2"]


def test_a_forked_child_has_connections_of_its_own_for_acknowledged_sends(stub: Stub) -> None:
    run(
        stub,
        """
        client = Client(os.environ["URL"], "k", source="shop")
        client.send(Event("before"))
        pid = os.fork()
        if pid == 0:
            client.send(Event("in the child"))
            os._exit(0)
        client.send(Event("in the parent"))
        assert os.waitpid(pid, 0)[1] == 0
        client.send(Event("after"))
        """,
    )

    assert messages(stub) == ["after", "before", "in the child", "in the parent"]


def test_a_forked_child_spools_for_itself(stub: Stub, tmp_path: os.PathLike[str]) -> None:
    stub.otherwise = REFUSED
    spooling = """
        handler = ForebayHandler(os.environ["URL"], "k", source="shop", spool_dir=os.environ["DIR"],
            exit_timeout_s=float(os.environ["EXIT_S"]))
        logging.getLogger().handlers[:] = [handler]
        """
    forking = """
        logging.info("of the parent")
        pid = os.fork()
        if pid == 0:
            logging.info("of the child")
            sys.exit()
        assert os.waitpid(pid, 0)[1] == 0
        """
    run(stub, textwrap.dedent(spooling) + textwrap.dedent(forking), DIR=str(tmp_path), EXIT_S="0.1")
    stub.asked.clear()
    stub.otherwise = Answer()

    run(stub, textwrap.dedent(spooling) + "logging.info('later')", DIR=str(tmp_path), EXIT_S="20")

    assert messages(stub) == ["later", "of the child", "of the parent"]
