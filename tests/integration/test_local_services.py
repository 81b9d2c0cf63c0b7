"""The native services themselves: that what `make up` and the fault tests build on starts, keeps and stops."""

import multiprocessing
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer
from django.db import connection
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from forebay.local import kafka
from forebay.local.ports import free_port, port_is_free
from tests.consumer import create_topic, read_all, read_records
from tests.programs import Program, wait_for_exit
from tests.services import KafkaServer, PostgresServer, RedisServer


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value, key=b"k", headers={"n": value})
    assert producer.flush(30) == 0


def test_an_independent_consumer_reads_what_was_produced(kafka_bootstrap: str, topic_name: str) -> None:
    create_topic(kafka_bootstrap, topic_name, partitions=4)
    values = [b"%d" % number for number in range(1000)]
    produce(kafka_bootstrap, topic_name, values)

    records = read_records(kafka_bootstrap, topic_name, until=1000)

    assert [record.value for record in records] == values
    assert [record.headers["n"] for record in records] == values
    assert {record.key for record in records} == {b"k"}


def test_a_topic_does_not_appear_by_itself(kafka_bootstrap: str, topic_name: str) -> None:
    with pytest.raises(AssertionError, match="there is no topic"):
        read_records(kafka_bootstrap, topic_name, until=1, deadline_s=1)


def test_a_killed_broker_comes_back_with_its_records(own_kafka: KafkaServer, topic_name: str) -> None:
    create_topic(own_kafka.bootstrap, topic_name)
    produce(own_kafka.bootstrap, topic_name, [b"kept"])

    own_kafka.kill()
    own_kafka.start()

    assert [record.value for record in read_all(own_kafka.bootstrap, topic_name)] == [b"kept"]


def test_three_brokers_form_one_cluster(tmp_path: Path, kafka_bootstrap: str) -> None:
    nodes = [kafka.Node(number, free_port(), free_port()) for number in (1, 2, 3)]
    programs = []
    try:
        for node in nodes:
            directory = tmp_path / str(node.node_id)
            kafka.prepare(directory, node, nodes)
            programs.append(Program(kafka.command(directory, heap_mb=256), directory / "output.log"))

        kafka.wait_until_ready(nodes[0].bootstrap, brokers=3)
    finally:
        for program in programs:
            program.kill()

    assert all(port_is_free(node.host, node.broker_port) for node in nodes)


def test_two_installations_at_once_leave_one_whole_set_of_jars(tmp_path: Path, kafka_bootstrap: str) -> None:
    libs_dir = tmp_path / "libs"
    context = multiprocessing.get_context("spawn")
    installers = [context.Process(target=kafka.install, args=(libs_dir,), kwargs={"say": print}) for _ in range(2)]

    for installer in installers:
        installer.start()
    for installer in installers:
        installer.join(300)

    assert [installer.exitcode for installer in installers] == [0, 0]
    assert {jar.name for jar in libs_dir.glob("*.jar")} == {jar.name for jar in kafka.LIBS_DIR.glob("*.jar")}


def test_a_frozen_redis_times_out_and_answers_when_thawed(own_redis: RedisServer) -> None:
    with Redis.from_url(own_redis.url, socket_timeout=0.2) as client:
        client.set("lease", 1)

        own_redis.freeze()
        with pytest.raises(RedisTimeoutError):
            client.get("lease")
        own_redis.thaw()

        assert client.get("lease") == b"1"


def test_a_killed_database_keeps_what_was_committed(own_postgres: PostgresServer) -> None:
    with psycopg.connect(own_postgres.url) as session:
        session.execute("CREATE TABLE kept (n int)")
        session.execute("INSERT INTO kept VALUES (1)")

    own_postgres.kill()
    own_postgres.start()

    with psycopg.connect(own_postgres.url) as session:
        assert session.execute("SELECT n FROM kept").fetchall() == [(1,)]


def test_the_database_does_not_run_as_root(own_postgres: PostgresServer) -> None:
    owner = Path(f"/proc/{own_postgres.program.pid}").stat().st_uid

    assert owner != 0


@pytest.mark.django_db
def test_the_orm_of_a_run_with_services_is_on_the_real_database() -> None:
    assert connection.vendor == "postgresql"


@pytest.mark.parametrize("service", ["own_kafka", "own_redis", "own_postgres"])
def test_no_service_outlives_a_test_run_that_is_killed(service: str, tmp_path: Path) -> None:
    """A run of its own that is killed while its service is up, as an impatient person would."""
    (tmp_path / "test_hang.py").write_text(
        f"import os, pathlib\n"
        f"from django.conf import settings\n"
        f"def test_hang({service}):\n"
        f"    left = [{service}.program.pid, {service}.directory, settings.FOREBAY_VAR_DIR]\n"
        f"    pathlib.Path({str(tmp_path / 'left')!r}).write_text('\\n'.join(map(str, left)))\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    root = Path(__file__).parents[2]
    options = ["-p", "tests.conftest", "-c", str(root / "pyproject.toml"), "--rootdir", str(root), "-q"]

    run = subprocess.run([sys.executable, "-m", "pytest", *options, str(tmp_path)], cwd=root, check=False, timeout=120)
    pid, *directories = (tmp_path / "left").read_text().splitlines()
    still_there = wait_for_exit([int(pid)], deadline_s=10)
    for directory in directories:
        shutil.rmtree(directory)

    assert run.returncode == -signal.SIGKILL
    assert still_there == []
