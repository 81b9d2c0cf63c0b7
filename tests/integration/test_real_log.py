"""100,000 lines of real logs: sent by a plain client, read back by two consumers that know nothing of Forebay."""

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from forebay.local import kafka
from tests.consumer import Record, event_id, read_all, read_records
from tests.faults.conftest import admit_tenant
from tests.faults.tally import inversions, partitions_by_key
from tests.faults.traffic import Client, event, ndjson
from tests.node import Node
from tests.services import KafkaServer

LINES = 100_000
BATCH_EVENTS = 500
SYSTEM_LOGS = ("/var/log/dpkg.log", "/var/log/apt/term.log", "/var/log/apt/history.log", "/var/log/syslog")


def real_lines(files: list[Path], count: int) -> Iterator[tuple[str, str]]:
    """Source and line of `count` lines; short logs are read again and again, for the volume."""
    texts = {file.name: file.read_text(errors="replace").splitlines() for file in files}
    turns = {name: itertools.cycle([line for line in lines if line.strip()]) for name, lines in texts.items()}
    names = itertools.cycle(turns)
    for name in itertools.islice(names, count):
        yield name, next(turns[name])


def send_in_batches(port: int, key: str, events: list[dict[str, object]]) -> list[int]:
    """Over one connection; what was accepted by each answer."""
    accepted = []
    with Client(port, key) as client:
        for at in range(0, len(events), BATCH_EVENTS):
            answer = client.post("/api/logs/batch", ndjson(events[at : at + BATCH_EVENTS]))
            assert answer.status == 202, answer.body
            accepted.append(int(answer.body["accepted"]))
    return accepted


def read_with_java(bootstrap: str, topic: str, count: int) -> list[str]:
    """What Kafka's own console consumer prints: a value a line."""
    argv = ["java", "-Xmx256m", "-cp", f"{kafka.LIBS_DIR}{os.sep}*", "org.apache.kafka.tools.consumer.ConsoleConsumer"]
    options = ["--bootstrap-server", bootstrap, "--topic", topic, "--from-beginning", "--max-messages", str(count)]
    done = subprocess.run(
        [*argv, *options, "--timeout-ms", "30000"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("{")]


def test_a_hundred_thousand_lines_of_real_logs_arrive_whole_and_in_order(
    start_node: Callable[..., Node], own_kafka: KafkaServer, topic_name: str
) -> None:
    node = start_node(start=False, kafka_bootstrap=own_kafka.bootstrap)
    key = admit_tenant(node, "acme")
    node.start()
    logs = [*(Path(name) for name in SYSTEM_LOGS if os.access(name, os.R_OK)), own_kafka.program.log]
    by_source: dict[str, list[dict[str, object]]] = {}
    for source, line in real_lines(logs, LINES):
        lines = by_source.setdefault(source, [])
        lines.append(event(source, len(lines), message=line))
    messages = {str(one["eventId"]): one["message"] for lines in by_source.values() for one in lines}

    with ThreadPoolExecutor(len(by_source)) as senders:
        accepted = list(senders.map(lambda lines: send_in_batches(node.port, key, lines), by_source.values()))
    read_records(own_kafka.bootstrap, topic_name, until=LINES, deadline_s=60)
    records = read_all(own_kafka.bootstrap, topic_name)
    printed = read_with_java(own_kafka.bootstrap, topic_name, LINES)

    accepted_events = sum(sum(answers) for answers in accepted)
    print(f"lines={LINES} logs={[log.name for log in logs]} accepted={accepted_events} stored={len(records)}")
    assert accepted_events == len(records) == len(printed) == LINES
    assert {event_id(record) for record in records} == set(messages)
    assert {str(json.loads(line)["eventId"]) for line in printed} == set(messages)
    assert all(json.loads(record.value)["message"] == messages[event_id(record)] for record in records)
    assert inversions(records) == 0
    assert all(count == 1 for count in partitions_by_key(records).values())
    assert keys_are_sources(records)


def keys_are_sources(records: list[Record]) -> bool:
    return all((record.key or b"").decode() == json.loads(record.value)["source"] for record in records)
