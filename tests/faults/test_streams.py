"""Streams that break: cut connections, a killed process, a drain, a full journal. Every event once, by its eventId."""

import contextlib
import http.client
import itertools
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from forebay.local.ports import free_port
from tests.consumer import Record, read_all, read_records
from tests.faults.brokers import BreakableKafka
from tests.faults.conftest import Serve
from tests.faults.traffic import event
from tests.node import Node
from tests.programs import poll_until
from tests.streaming import StreamClient

SENDERS, BATCH_EVENTS = 4, 25
CUTS, KILLS = 10, 3
MIB = 1 << 20


def with_listen(**more: str) -> dict[str, str]:
    return {"FOREBAY_LISTEN_PORT": str(free_port()), **more}


class StreamSender(threading.Thread):
    """Sends numbered events without eventIds over one stream until it is told to stop, then until all is acknowledged.

    Whatever breaks, it comes back with the sequence after the last one that it saw acknowledged.
    """

    def __init__(self, node: Node, key: str, name: str) -> None:
        super().__init__(name=name)
        self.acknowledged = 0
        self.sent = 0
        self.resent = 0
        self.connections = 0
        self.ends: Counter[str] = Counter()
        self._node, self._key = node, key
        self._stopping = threading.Event()
        self._client: StreamClient | None = None

    def run(self) -> None:
        while not self._stopping.is_set() or self.acknowledged < self.sent:
            try:
                self._stream()
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.ends[type(error).__name__] += 1
                self._stopping.wait(0.05)

    def stop(self) -> None:
        """No new events."""
        self._stopping.set()

    def cut(self) -> None:
        """From another thread: as a network does that drops the connection."""
        client = self._client
        if client is not None:
            client.socket.shutdown(2)

    def _stream(self) -> None:
        first = self.acknowledged + 1
        with StreamClient(self._node.listen_port, self._key, f"?stream={self.name}&sequence={first}") as client:
            if client.status != 200:
                raise ValueError(client.body()["code"])
            self._client, self.connections = client, self.connections + 1
            position = first
            while not self._stopping.is_set() or self.acknowledged < self.sent:
                until = self.sent if self._stopping.is_set() else position + BATCH_EVENTS - 1
                numbers = range(position, until + 1)
                if numbers:
                    client.send([_numbered(self.name, number) for number in numbers])
                    self.resent += max(0, min(self.sent, until) - position + 1)
                    self.sent, position = max(self.sent, until), until + 1
                self._hear(client)

    def _hear(self, client: StreamClient) -> None:
        line = client.read()
        while line is not None and line["type"] != "ack":
            if line["type"] == "end":
                self.ends[line.get("code", "end")] += 1
                raise ValueError("ended")
            line = client.read()
        if line is None:
            raise ValueError("over")
        assert "rejected" not in line, line
        self.acknowledged = max(self.acknowledged, line["sequence"])


def _numbered(source: str, number: int) -> dict[str, Any]:
    return {"source": source, "level": "INFO", "message": str(number)}


def table(senders: list[StreamSender], records: list[Record]) -> tuple[set[tuple[str, str]], int, int]:
    """Prints what was sent, acknowledged and stored; returns what is missing, copies, and events with several ids."""
    values = [json.loads(record.value) for record in records]
    ids: dict[tuple[str, str], set[str]] = {}
    for value in values:
        ids.setdefault((value["source"], value["message"]), set()).add(value["eventId"])
    sent = {(sender.name, str(number)) for sender in senders for number in range(1, sender.sent + 1)}
    copies = len(values) - len({value["eventId"] for value in values})
    several = sum(len(of_one) > 1 for of_one in ids.values())
    ends = dict(sum((sender.ends for sender in senders), Counter[str]()))
    print(
        f"sent {len(sent)}, acknowledged {sum(one.acknowledged for one in senders)}, sent again"
        f" {sum(one.resent for one in senders)}, stored {len(ids)}, copies {copies}, with several ids {several};"
        f" connections {sum(one.connections for one in senders)}, ends {ends}"
    )
    assert set(ids) <= sent
    return sent - set(ids), copies, several


def run_under(senders: list[StreamSender], trouble: Callable[[], None]) -> None:
    """Trouble while they send; then all that was sent is acknowledged."""
    for sender in senders:
        sender.start()
    try:
        trouble()
    finally:
        for sender in senders:
            sender.stop()
        for sender in senders:
            sender.join(60)
    assert not any(sender.is_alive() for sender in senders)


def wait_for(senders: list[StreamSender], more_events: int) -> None:
    goals = [sender.acknowledged + more_events for sender in senders]
    assert poll_until(
        lambda: all(sender.acknowledged >= goal for sender, goal in zip(senders, goals, strict=True)), 60
    ), [(sender.acknowledged, dict(sender.ends)) for sender in senders]


def test_streams_that_are_cut_go_on_and_every_event_is_in_kafka_once(
    serve: Serve, kafka_bootstrap: str, topic_name: str
) -> None:
    node, key = serve(environment=with_listen())
    senders = [StreamSender(node, key, f"cut-{number}") for number in range(SENDERS)]

    def cut_them() -> None:
        for number in range(CUTS):
            wait_for(senders, 100)
            senders[number % SENDERS].cut()

    run_under(senders, cut_them)
    total = sum(sender.sent for sender in senders)
    read_records(kafka_bootstrap, topic_name, until=total)
    missing, copies, several = table(senders, read_all(kafka_bootstrap, topic_name))

    assert (missing, copies, several) == (set(), 0, 0)
    assert sum(sender.connections for sender in senders) == SENDERS + CUTS


def test_streams_outlive_a_listen_process_that_is_killed_again_and_again(
    serve: Serve, kafka_bootstrap: str, topic_name: str
) -> None:
    node, key = serve(environment=with_listen())
    senders = [StreamSender(node, key, f"kill-{number}") for number in range(SENDERS)]

    def kill_it() -> None:
        for _ in range(KILLS):
            wait_for(senders, 200)
            os.kill(node.listen_pid(), signal.SIGKILL)
        wait_for(senders, 200)

    run_under(senders, kill_it)
    sent = {(sender.name, str(number)) for sender in senders for number in range(1, sender.sent + 1)}

    def all_there(records: list[Record]) -> bool:
        return len({record.value.split(b'"eventId"')[1][:40] for record in records}) >= len(sent)

    read_records(kafka_bootstrap, topic_name, until=all_there, deadline_s=60)
    missing, copies, several = table(senders, read_all(kafka_bootstrap, topic_name))

    assert (missing, several) == (set(), 0)
    # A kill sends again what was in flight, and a window of each stream whose position was not told; under their ids.
    # If each began from the start again, they would be half as many again as were sent.
    assert copies < len(sent)


def test_a_drained_process_has_what_it_acknowledged_in_kafka_and_nothing_else(
    serve: Serve, kafka_bootstrap: str, topic_name: str
) -> None:
    node, key = serve(environment=with_listen())
    numbers, is_over, lines = itertools.count(1), threading.Event(), list[dict[str, Any]]()
    with StreamClient(node.listen_port, key, "?stream=leaving&sequence=1") as busy:

        def hear() -> None:
            while (line := busy.read()) is not None:
                lines.append(line)
            is_over.set()

        def send() -> None:
            with contextlib.suppress(OSError):  # it is closed some time after its last line
                while not is_over.is_set():
                    busy.send([event("s", next(numbers)) for _ in range(10)])

        busy.send([event("s", next(numbers))])
        # What comes before the topic is known waits in the journal, for the next life of the node.
        read_records(kafka_bootstrap, topic_name, until=1)
        threads = [threading.Thread(target=one) for one in (hear, send)]
        for thread in threads:
            thread.start()
        assert poll_until(lambda: bool(lines) and lines[-1].get("sequence", 0) > 100, 60)
        # It is still sent to when it is told to stop.
        exit_code = node.stop()
        for thread in threads:
            thread.join(60)
    last, sent = lines[-1], next(numbers) - 1
    stored = {json.loads(record.value)["eventId"] for record in read_all(kafka_bootstrap, topic_name)}

    print(f"sent {sent}, acknowledged {last['sequence']}, stored {len(stored)}")
    assert (last["type"], last["code"], exit_code) == ("end", "go_elsewhere", 0)
    assert sent > last["sequence"]
    assert stored == {f"s/{number}" for number in range(1, last["sequence"] + 1)}


def test_a_journal_that_kafka_does_not_empty_is_told_in_band_and_nothing_is_lost(
    serve: Serve, kafka: BreakableKafka, topic_name: str
) -> None:
    node, key = serve(
        environment=with_listen(
            FOREBAY_JOURNAL_MAX_BYTES=str(8 * MIB),
            FOREBAY_JOURNAL_SEGMENT_BYTES=str(MIB),
            FOREBAY_PRODUCER_QUEUE_BYTES=str(MIB),
        ),
        kafka_bootstrap=kafka.bootstrap,
    )
    numbers = itertools.count(1)
    with StreamClient(node.listen_port, key, timeout_s=90) as stream:
        stream.send([event("full", next(numbers))])
        stream.read_until("ack")
        read_records(kafka.bootstrap, topic_name, until=1)
        kafka.server.freeze()
        told = threading.Event()
        lines: list[dict[str, Any]] = []

        def hear() -> None:
            while (line := stream.read()) is not None:
                lines.append(line)
                if line["type"] == "wait":
                    told.set()

        def send() -> None:
            while not told.is_set():
                stream.send([event("full", next(numbers), message="x" * 1_000) for _ in range(20)])

        # On a thread: where the sockets are full before `told` is heard, it stands until the thaw.
        hearing, sending = (threading.Thread(target=one) for one in (hear, send))
        for thread in (hearing, sending):
            thread.start()
        assert told.wait(60)
        kafka.server.thaw()
        sending.join(60)
        sent = next(numbers) - 1
        poll_until(lambda: bool(lines) and lines[-1].get("sequence") == sent, 60)
        stream.finish()
        hearing.join(60)
    read_records(kafka.bootstrap, topic_name, until=sent, deadline_s=60)
    stored = {json.loads(record.value)["eventId"] for record in read_all(kafka.bootstrap, topic_name)}

    waits = [line for line in lines if line["type"] == "wait"]
    print(f"sent {sent}, acknowledged {lines[-1]['sequence']}, stored {len(stored)}, told {waits[0]['code']}")
    assert {line["code"] for line in waits} <= {"journal_behind", "journal_full", "journal_share_exceeded"}
    assert lines[-1] == {"type": "end", "sequence": sent}
    assert stored == {f"full/{number}" for number in range(1, sent + 1)}
