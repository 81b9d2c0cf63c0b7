"""A stream while Kafka is behind, on one worker in this process. Its journal must be empty, so this file comes first:
others leave events for topics that are not there."""

import json
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY

from ingest.dataplane.policy import OverridePolicy
from ingest.dataplane.segments import Record
from ingest.worker import Worker
from tests.contract.cast import KEYS
from tests.contract.listening import DEADLINE_S, EVENT, listening
from tests.programs import poll_until
from tests.streaming import StreamClient


@contextmanager
def kafka_behind(node: Worker) -> Iterator[None]:
    """An operator holds everything back; at the end it leaves, and all of it is with Kafka."""

    def say(number: int, kind: str) -> None:
        node.board.apply([OverridePolicy(number, kind, "logs", "", "operator", "they know why", 0)])

    say(1, "FORCED_OPEN")
    try:
        yield
    finally:
        say(2, "RESET")
        assert poll_until(lambda: not node.engine.drain.pending, DEADLINE_S)


def send_until_full(stream: StreamClient, line: bytes, most_bytes: int) -> tuple[int, bytes]:
    """Lines until nobody has taken any for a second: how many, and what is left to send of the last one."""
    sent_lines, left = 0, b""
    while select.select([], [stream.socket], [], 1.0)[1]:
        if not left:
            sent_lines, left = sent_lines + 1, f"{len(line):x}\r\n".encode() + line + b"\r\n"
        left = left[stream.socket.send(left) :]
        assert sent_lines * len(line) < most_bytes, "it is read all the same"
    return sent_lines, left


def test_a_stream_is_not_read_while_kafka_is_behind_and_the_journal_is_filled_to_its_share(
    node: Worker, new_records: Callable[[], list[Record]]
) -> None:
    def waits() -> float:
        return REGISTRY.get_sample_value("forebay_listen_waits_total", {"reason": "journal_behind"}) or 0.0

    assert not node.engine.drain.pending, "another test has left events that wait: run this file before it"
    journal, told_before = node.engine.journal, waits()
    share = (journal.used_bytes + 4_096) / journal.max_bytes
    line = json.dumps(EVENT | {"message": "x" * 8_192}).encode() + b"\n"
    with (
        listening(node, FOREBAY_LISTEN_JOURNAL_RATIO=share) as port,
        StreamClient(port, KEYS["acme"], "?stream=behind&sequence=1") as stream,
    ):
        with kafka_behind(node):
            stream.send_bytes(line)  # beyond the share, which was free
            stream.read_until("ack", sequence=1)
            stream.send_bytes(line)
            told = stream.read_until("wait")[-1]
            lines, left = send_until_full(stream, line, most_bytes=64 << 20)
            accepted = len(new_records())
        stream.socket.sendall(left)
        stream.finish()
        rest = stream.read_until("end", sequence=2 + lines)

    print(f"{2 + lines} sent, {accepted} accepted while Kafka was behind, {len(new_records())} in the end")
    assert (told["code"], told["sequence"], accepted) == ("journal_behind", 1, 1)
    assert waits() > told_before
    assert sum(one["accepted"] for one in rest if one["type"] == "ack") == 1 + lines
    assert len({json.loads(record[3])["eventId"] for record in new_records()}) == len(new_records()) == 2 + lines
