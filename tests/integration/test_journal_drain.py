"""`manage.py journal drain` on real services: what a node left behind is delivered, or it says what it waits for."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.dataplane.journal import Journal
from ingest.dataplane.policy import Header, read_header
from tests.consumer import read_all
from tests.node import ROOT, Node
from tests.programs import poll_until

EVENTS = 5


@pytest.fixture
def node(start_node: Callable[..., Node], topic_name: str) -> Node:
    """It has verified its topic, and will not be started again."""
    node = start_node()
    assert poll_until(lambda: topic_name in {topic.name for topic in header_of(node).topics}, 30)
    node.stop()
    return node


def snapshot_of(node: Node) -> Path:
    return Path(node.environment["FOREBAY_VAR_DIR"]) / "snapshot.msgpack"


def header_of(node: Node) -> Header:
    return read_header(snapshot_of(node).read_bytes())


def leave_behind(node: Node, topic: str) -> Path:
    """What a killed worker leaves."""
    root = Path(node.environment["FOREBAY_VAR_DIR"]) / "journal"
    journal = Journal.create(root, segment_bytes=4 << 20, max_bytes=64 << 20)
    records = [(topic, 0, b"k", str(number).encode(), 0) for number in range(EVENTS)]
    journal.append("acme", time.time_ns() // 1_000_000, records)
    journal.close()
    return journal.directory


def drain(node: Node, timeout_s: int) -> tuple[int, str]:
    """The exit code, and what was told on both streams."""
    argv = [sys.executable, "manage.py", "journal", "drain", "--timeout", str(timeout_s)]
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=os.environ | node.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def waiting(node: Node) -> bool:
    return f"{EVENTS} events wait" in node.manage("journal", "list")


def test_what_a_node_left_behind_is_delivered(node: Node, kafka_bootstrap: str, topic_name: str) -> None:
    leave_behind(node, topic_name)

    exit_code, told = drain(node, 60)

    assert exit_code == 0, told
    assert "Nothing waits any more" in told
    assert [record.value for record in read_all(kafka_bootstrap, topic_name)] == [b"0", b"1", b"2", b"3", b"4"]
    assert not waiting(node)


def test_without_a_snapshot_nothing_is_said_to_be_done(node: Node, topic_name: str) -> None:
    leave_behind(node, topic_name)
    snapshot_of(node).unlink()

    exit_code, told = drain(node, 3)

    assert exit_code == 1
    assert "there is no snapshot" in told
    assert waiting(node)


def test_what_waits_for_a_topic_that_nobody_knows_is_named(node: Node) -> None:
    leave_behind(node, "topic-of-yesterday")

    exit_code, told = drain(node, 3)

    assert exit_code == 1
    assert "the snapshot does not know topic-of-yesterday" in told
    assert waiting(node)


def test_a_journal_that_cannot_be_opened_is_not_said_to_be_done(node: Node, topic_name: str) -> None:
    directory = leave_behind(node, topic_name)
    (directory / "copy-of.segment").touch()

    exit_code, told = drain(node, 3)

    assert exit_code == 1
    assert "1 not opened" in told
