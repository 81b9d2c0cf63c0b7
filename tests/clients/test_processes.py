"""Programs that end, fork, are killed, or are Celery's: what they logged is stored, once."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery

from forebay.local.command import Command
from forebay_client.celery import HEADER
from tests.clients.conftest import MakeClient, Serve, Served
from tests.clients.programs import start, surroundings
from tests.node import ROOT
from tests.programs import Program, poll_until


def values(served: Served, count: int) -> list[Any]:
    """What is stored, once there are so many."""
    found = [json.loads(record.value) for record in served.read_count(count)]
    print(f"sent {count}, stored {len(found)}")
    return found


@contextmanager
def celery_worker(served: Served, broker_url: str, log: Path) -> Iterator[Program]:
    """Two children, of which each takes its share."""
    argv = [sys.executable, "-m", "celery", "-A", "tests.clients.celery_app", "worker", "--concurrency", "2"]
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")
    # Celery would set up Django for whoever has its settings in the environment.
    environment = surroundings(served) | {"BROKER_URL": broker_url, "DJANGO_SETTINGS_MODULE": ""}
    worker = Program(Command([*argv, *quiet, "--prefetch-multiplier", "1", "-O", "fair"], ROOT, environment), log)
    try:
        yield worker
    finally:
        worker.kill()


def test_programs_that_end_and_workers_that_were_forked_leave_nothing_behind(serve: Serve, tmp_path: Path) -> None:
    served = serve()
    forking = """
logging.info("parent before")
for worker in range(4):
    if os.fork() == 0:
        for number in range(250):
            logging.info("worker %d number %d", worker, number)
        sys.exit()
for worker in range(4):
    assert os.wait()[1] == 0
logging.info("parent after")
"""

    programs = [
        start(served, "for number in range(3000): logging.info('number %d', number)", tmp_path / "ends.log"),
        start(served, "logging.info('raising'); raise SystemExit(3)", tmp_path / "raises.log"),
        start(served, forking, tmp_path / "forks.log"),
    ]
    exit_codes = [program.wait(60) for program in programs]
    stored = values(served, 4003)

    expected = [
        *(f"number {number}" for number in range(3000)),
        *(f"worker {worker} number {number}" for worker in range(4) for number in range(250)),
        *("parent before", "parent after", "raising"),
    ]
    assert exit_codes == [0, 3, 0], [program.log_tail() for program in programs]
    assert sorted(value["message"] for value in stored) == sorted(expected)
    assert len({value["eventId"] for value in stored}) == len(expected)


def test_what_a_killed_application_had_on_its_disk_is_sent_by_the_next(
    serve: Serve, make_client: MakeClient, tmp_path: Path
) -> None:
    served = serve(start=False)
    spool_dir = tmp_path / "spool"
    killed = start(
        served,
        """
for number in range(2000):
    logging.info("number %d", number)
while handler.client.counters().spool_events < 2000:
    time.sleep(0.01)
print("on the disk", flush=True)
time.sleep(60)
""",
        tmp_path / "killed.log",
        SPOOL_DIR=str(spool_dir),
    )
    assert poll_until(lambda: "on the disk" in killed.log_tail(), 30), killed.log_tail()
    killed.send(signal.SIGKILL)
    killed.wait(10)

    served.node.start()
    client = make_client(served, spool_dir=spool_dir)
    application = start(served, "logging.info('the next one')", tmp_path / "next.log", SPOOL_DIR=str(spool_dir))
    assert application.wait(60) == 0, application.log_tail()
    assert client.flush(10)

    stored = values(served, 2001)
    assert sorted(value["message"] for value in stored) == sorted(
        [*(f"number {number}" for number in range(2000)), "the next one"]
    )
    assert list(spool_dir.rglob("*.ndjson")) == []


def test_a_celery_worker_sends_from_each_child_with_the_correlation_id_of_who_sent_the_task(
    serve: Serve, empty_redis_url: str, tmp_path: Path
) -> None:
    served = serve()
    with (
        celery_worker(served, empty_redis_url, tmp_path / "worker.log") as worker,
        Celery(broker=empty_redis_url) as app,
    ):
        for number in range(20):
            app.send_task("charge", (number,), headers={HEADER: f"order-{number}"})
        assert poll_until(lambda: worker.log_tail(100).count("charged") >= 20, 60), worker.log_tail()
        assert worker.stop(grace_s=60) == 0, worker.log_tail()
    stored = [value for value in values(served, 20) if value["message"].startswith("charged")]

    charged = {int(value["message"].split()[1]): value["correlationId"] for value in stored}
    pids = {value["metadata"]["pid"] for value in stored}
    print(f"{len(stored)} events of {len(pids)} children")
    assert len(stored) == 20
    assert charged == {number: f"order-{number}" for number in range(20)}
    assert len(pids) == 2
