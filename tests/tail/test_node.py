"""The tailer as its own process, a real node and a real Kafka: rotation under load, kill -9, a node that is away."""

import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forebay.local.command import Command
from tests.consumer import all_of, read_all, read_records
from tests.faults.conftest import admit_tenant
from tests.node import ROOT, Node
from tests.programs import Program, poll_until
from tests.tail.rotations import copytruncate, rename_and_pack
from tests.tail.writers import Writer

KILLS = 20
SEED = 6
# Each kill waits for a checkpoint; the shipped second between two would be most of the test.
CONFIG = "[forebay]\nrescan_s = 0.5\nclose_after_s = 2\ncheckpoint_s = 0.2\n"
DEADLINE_S = 90.0

StartNode = Callable[..., Node]


class Tails:
    """`forebay tail` over one directory and one state, started again and again."""

    def __init__(self, root: Path, node: Node, key: str) -> None:
        self.logs, self.state, self.output = root / "logs", root / "state", root / "tail.log"
        self.logs.mkdir()
        self._config = root / "tail.ini"
        self._config.write_text(CONFIG)
        self._environment = {
            "FOREBAY_URL": node.url,
            "FOREBAY_KEY": key,
            "PYTHONPATH": str(ROOT / "clients" / "python" / "src"),
        }

    def start(self, *flags: str) -> Program:
        paths = [str(self.logs / "*.log*")]
        how = ["--config", str(self._config), "--state", str(self.state), *flags]
        command = Command([sys.executable, "-m", "forebay_client", "tail", *paths, *how], ROOT, self._environment)
        return Program(command, self.output)

    def finish(self) -> None:
        """Sends whatever is left."""
        assert self.start("--once").wait(DEADLINE_S) == 0, self.output.read_text()

    def accepted_bytes(self) -> int:
        """As far as the checkpoints say; files that are forgotten do not count."""
        try:
            document = json.loads((self.state / "checkpoints.json").read_bytes())
        except FileNotFoundError:
            return 0
        return sum(int(file["offset"]) for file in document["files"])

    def wait_for_more(self, before_bytes: int) -> None:
        assert poll_until(lambda: self.accepted_bytes() > before_bytes, DEADLINE_S), self.output.read_text()


def stored(bootstrap: str, topic: str, lines: Sequence[str]) -> list[dict[str, Any]]:
    """What Kafka holds once every line is there, and whatever lies behind it."""
    there = all_of(lines, lambda record: str(json.loads(record.value)["message"]))
    read_records(bootstrap, topic, until=there, deadline_s=DEADLINE_S)
    return [json.loads(record.value) for record in read_all(bootstrap, topic)]


def check_once(events: list[dict[str, Any]], lines: Sequence[str], node: Node, **told: object) -> None:
    """Each line under one id, each id with one line; copies of a record are counted and told."""
    ids = {event["eventId"]: event["message"] for event in events}
    ledger = settled_ledger(node)
    accepted = ledger["totals"]["acme"]["accepted"]
    print({"sent": len(lines), "accepted": accepted, "stored": len(ids), "copies": len(events) - len(ids), **told})
    assert Counter(ids.values()) == Counter(lines)
    assert ledger["mismatches"] == []
    assert ledger["totals"]["acme"]["pending"] == 0


def settled_ledger(node: Node) -> dict[str, Any]:
    """What Forebay itself counts, once nothing is pending."""
    told: dict[str, Any] = {}

    def is_settled() -> bool:
        told.update(json.loads(node.manage("ledger_check", "--json", "--wait", "5", exit_codes=(0, 1))))
        return told["totals"]["acme"]["pending"] == 0 and not told["mismatches"]

    poll_until(is_settled, DEADLINE_S)
    return told


def test_each_line_is_stored_under_one_id_though_the_tailer_is_killed_while_files_are_rotated(
    start_node: StartNode, kafka_bootstrap: str, topic_name: str, tmp_path: Path
) -> None:
    node = start_node(start=False)
    tails = Tails(tmp_path, node, admit_tenant(node, "acme"))
    node.start()
    moments = random.Random(SEED)

    with (
        Writer(tails.logs / "renamed.log", rename_and_pack, rotate_lines=600, lines_per_s=600) as renamed,
        Writer(tails.logs / "copied.log", copytruncate, rotate_lines=600, lines_per_s=600) as copied,
    ):
        for _ in range(KILLS):
            before_bytes = tails.accepted_bytes()
            program = tails.start()
            tails.wait_for_more(before_bytes)
            time.sleep(moments.uniform(0.0, 0.3))  # at any point of what it does
            program.send(signal.SIGKILL)
            program.wait(10)
    tails.finish()

    lines = renamed.lines + copied.lines
    events = stored(kafka_bootstrap, topic_name, lines)
    rotated = len(list(tails.logs.iterdir())) - 2
    check_once(events, lines, node, kills=KILLS, seed=SEED, rotations=rotated)
    assert rotated > 2


def test_a_node_that_is_killed_and_comes_back_costs_no_line(
    start_node: StartNode, kafka_bootstrap: str, topic_name: str, tmp_path: Path
) -> None:
    node = start_node(start=False, environment={"FOREBAY_JOURNAL_ADOPT_INTERVAL_S": "0.5"})
    tails = Tails(tmp_path, node, admit_tenant(node, "acme"))
    node.start()

    with Writer(tails.logs / "app.log", rename_and_pack) as writer:
        program = tails.start()
        tails.wait_for_more(0)
        node.kill()
        written = len(writer.lines)
        assert poll_until(lambda: len(writer.lines) > written + 3_000, DEADLINE_S)
        before_bytes = tails.accepted_bytes()
        node.start()
        tails.wait_for_more(before_bytes)
    exit_code = program.stop()
    tails.finish()

    events = stored(kafka_bootstrap, topic_name, writer.lines)
    check_once(events, writer.lines, node)
    assert exit_code == 0
    assert "waiting: no answer" in program.log.read_text()


def test_a_quota_that_is_used_up_slows_it_down_and_loses_nothing(
    start_node: StartNode, kafka_bootstrap: str, topic_name: str, tmp_path: Path
) -> None:
    node = start_node(start=False)
    node.manage(
        *("shell", "--verbosity", "0", "--command"),
        "from tenants.models import Plan\nPlan.objects.create(name='small', events_per_s=2000, burst_events=2000)",
    )
    tails = Tails(tmp_path, node, admit_tenant(node, "acme", plan="small"))
    node.start()
    lines = [f"number {number}" for number in range(10_000)]
    (tails.logs / "app.log").write_text("".join(f"{line}\n" for line in lines))

    tails.finish()

    events = stored(kafka_bootstrap, topic_name, lines)
    check_once(events, lines, node)
    assert "quota_exceeded" in tails.output.read_text()


def test_ctrl_c_ends_it_cleanly_and_a_wrong_key_with_advice(
    start_node: StartNode, kafka_bootstrap: str, topic_name: str, tmp_path: Path
) -> None:
    node = start_node(start=False)
    tails = Tails(tmp_path, node, admit_tenant(node, "acme"))
    node.start()
    (tails.logs / "app.log").write_text("one\ntwo\n")

    program = tails.start()
    tails.wait_for_more(0)
    program.send(signal.SIGINT)
    exit_code = program.wait(DEADLINE_S)
    (tails.logs / "app.log").write_text("three\n")
    refused = tails.start("--key", "fb_00000000_0000000000000000000000000000000000000000000")

    assert exit_code == 0
    assert "ended; " in tails.output.read_text()
    assert refused.wait(DEADLINE_S) == 1
    assert "401" in tails.output.read_text()
    assert "--key-file" in tails.output.read_text()


def test_the_management_command_sends_to_the_platform_of_this_machine(
    start_node: StartNode, kafka_bootstrap: str, topic_name: str, tmp_path: Path
) -> None:
    node = start_node(start=False)
    key = admit_tenant(node, "acme")
    node.start()
    log = tmp_path / "app.log"
    log.write_text("one\ntwo\n")

    node.manage("tail", "--once", "--key", key, str(log))
    node.manage("tail", "--once", "--key", key, str(log))  # its checkpoints are the node's

    events = stored(kafka_bootstrap, topic_name, ["one", "two"])
    check_once(events, ["one", "two"], node)
    assert len(events) == 2
