"""Streams and the live tail as their peers meet them, on one worker in this process whose Redis is away."""

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from django.conf import settings
from prometheus_client import REGISTRY

from ingest.dataplane.policy import dump
from ingest.dataplane.segments import Record
from ingest.worker import Worker
from tenants import api_keys
from tests.contract.cast import KEYS
from tests.contract.listening import DEADLINE_S, EVENT, ask, listening
from tests.programs import poll_until
from tests.streaming import StreamClient
from tests.unit.dataplane.world import key


def test_bad_lines_are_told_by_their_sequence_and_the_good_ones_go_on(
    port: int, new_records: Callable[[], list[Record]]
) -> None:
    with StreamClient(port, KEYS["acme"], "?stream=bad&sequence=10") as stream:
        stream.send([EVENT])
        stream.send_bytes(b"\n not json\n" + json.dumps(EVENT | {"level": "LOUD", "eventId": "e"}).encode() + b"\n")
        stream.send_bytes(b'{"source":"' + b"x" * settings.FOREBAY_EVENT_MAX_BYTES + b'"}\n')
        stream.send([EVENT])
        lines = stream.read_until("ack", sequence=14)

    acknowledged = [line for line in lines if line["type"] == "ack"]
    rejected = [one for line in acknowledged for one in line.get("rejected", ())]
    assert [(one["sequence"], one["eventId"], one["code"]) for one in rejected] == [
        (11, None, "malformed_json"),
        (12, "e", "unknown_level"),
        (13, None, "event_too_large"),
    ]
    assert sum(line["accepted"] for line in acknowledged) == 2
    assert len(new_records()) == 2


def test_what_was_acknowledged_before_is_not_taken_again(port: int, new_records: Callable[[], list[Record]]) -> None:
    with StreamClient(port, KEYS["acme"], "?stream=known&sequence=1") as stream:
        stream.send([EVENT, EVENT])
        stream.read_until("ack", sequence=2)
        stream.cut()
    with StreamClient(port, KEYS["acme"], "?stream=known&sequence=1") as stream:
        opened, said = stream.read(), stream.read()
        stream.send([EVENT, EVENT, EVENT])
        acknowledged = stream.read_until("ack", sequence=3)[-1]

    assert opened == {"type": "open", "stream": "known", "sequence": 2, "first": 1}
    assert said == {"type": "ack", "sequence": 2, "accepted": 2}
    assert acknowledged == {"type": "ack", "sequence": 3, "accepted": 1, "known": 2}
    assert len({json.loads(record[3])["eventId"] for record in new_records()}) == len(new_records()) == 3


def test_a_stream_that_is_opened_again_is_taken_over(port: int) -> None:
    with StreamClient(port, KEYS["acme"], "?stream=twice&sequence=1") as first:
        first.send([EVENT])
        first.read_until("ack", sequence=1)
        with StreamClient(port, KEYS["acme"], "?stream=twice&sequence=2") as second:
            last = first.read_until("end")[-1]
            second.send([EVENT])
            acknowledged = second.read_until("ack", sequence=2)[-1]

    assert (last["code"], last["sequence"]) == ("taken_over", 1)
    assert acknowledged["accepted"] == 1


def test_two_tenants_may_call_their_streams_the_same(port: int) -> None:
    query = "?stream=same&sequence=1"
    with StreamClient(port, KEYS["acme"], query) as acme, StreamClient(port, KEYS["echo"], query) as echo:
        for stream in (acme, echo):
            stream.send([EVENT])
        said = [stream.read_until("ack")[-1] for stream in (acme, echo)]

    assert said == [{"type": "ack", "sequence": 1, "accepted": 1}] * 2


def test_a_window_over_the_burst_goes_in_parts(port: int) -> None:
    with StreamClient(port, KEYS["flux"]) as stream:
        stream.send([EVENT] * 5)
        lines = stream.read_until("ack", sequence=5)

    assert sum(line["accepted"] for line in lines if line["type"] == "ack") == 5


def test_streams_have_their_turns_one_window_each(node: Worker, new_records: Callable[[], list[Record]]) -> None:
    sizes = {"big-1": 20, "big-2": 20, "big-3": 20, "big-4": 20, "small": 1}

    def windows(source: str) -> bytes:
        return json.dumps(EVENT | {"source": source}).encode().join([b"", b"\n"]) * 10 * sizes[source]

    with listening(node, FOREBAY_STREAM_WINDOW_EVENTS=10) as port, contextlib.ExitStack() as held:
        streams = {source: held.enter_context(StreamClient(port, KEYS["acme"])) for source in sizes}
        with node.lane_lock:  # the first window waits here, and with it the loop, until all have sent
            for source, stream in streams.items():
                stream.send_bytes(windows(source))
        for source, stream in streams.items():
            stream.read_until("ack", sequence=10 * sizes[source])

    turns = [json.loads(record[3])["source"] for record in new_records()][::10]
    print(turns)
    assert Counter(turns) == sizes
    # One may be read a turn later than another, and the first one began alone.
    assert turns.index("small") < 3 * len(sizes)
    for at in range(len(turns)):
        had = Counter(turns[:at])
        if max(had.values(), default=0) < 20:
            assert max(had.values(), default=0) - min(had[source] for source in sizes if source != "small") <= 3


def test_with_delivery_ack_a_window_is_acknowledged_when_kafka_has_it(port: int) -> None:
    with StreamClient(port, KEYS["acme"], "?delivery=ack") as stream:
        stream.send([EVENT])
        acknowledged = stream.read_until("ack")[-1]

    assert acknowledged == {"type": "ack", "sequence": 1, "accepted": 1}


def test_a_body_with_a_length_is_a_stream_too(port: int) -> None:
    body = json.dumps(EVENT).encode()  # without a line feed at its end
    head = f"POST /api/logs/stream HTTP/1.1\r\nHost: h\r\nX-API-Key: {KEYS['acme']}\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sender:
        sender.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        told = sender.recv(100)
        sender.sendall(body)
        answer = sender.makefile("rb").read()

    assert told.startswith(b"HTTP/1.1 100 ")
    assert b'{"type":"end","sequence":1}' in answer


@pytest.mark.parametrize(
    ("method", "path", "key", "status", "code"),
    [
        ("POST", "/api/logs/stream", None, 401, "missing_key"),
        ("POST", "/api/logs/stream", "cruxgone", 401, "revoked_key"),
        ("POST", "/api/logs/stream", "acmeread", 403, "missing_scope"),
        ("GET", "/api/logs/stream", "acme", 405, "method_not_allowed"),
        ("POST", "/api/logs/stream?stream=s", "acme", 400, "invalid_query"),
        ("POST", "/api/logs/stream?sequence=1", "acme", 400, "invalid_query"),
        ("POST", "/api/logs/stream?stream=s&sequence=0", "acme", 400, "invalid_query"),
        ("POST", "/api/logs/stream?stream=a%20b&sequence=1", "acme", 400, "invalid_query"),
        ("POST", "/api/logs/stream?what=1", "acme", 400, "invalid_query"),
        ("POST", "/api/logs/stream?delivery=soon", "acme", 400, "unknown_delivery"),
        ("GET", "/api/logs/tail", "acmesend", 403, "missing_scope"),
        ("POST", "/api/logs/tail", "acme", 405, "method_not_allowed"),
        ("GET", "/api/logs/tail?level=LOUD", "acme", 400, "invalid_query"),
        ("GET", "/api/logs/tail?what=1", "acme", 400, "invalid_query"),
        ("POST", "/api/logs", "acme", 404, "unknown_path"),
    ],
)
def test_what_is_refused_before_it_begins(
    port: int, method: str, path: str, key: str | None, status: int, code: str
) -> None:
    headers = {"X-API-Key": KEYS[key]} if key else {}

    answer, problem = ask(port, method, path, **headers)

    assert (answer, problem["code"]) == (status, code)


def test_a_compressed_stream_is_refused(port: int) -> None:
    status, problem = ask(port, "POST", "/api/logs/stream", **{"X-API-Key": KEYS["acme"], "Content-Encoding": "gzip"})

    assert (status, problem["code"]) == (415, "unsupported_encoding")


def test_an_idle_stream_is_closed_and_told_so(node: Worker) -> None:
    with listening(node, FOREBAY_STREAM_IDLE_TIMEOUT_S=0.3) as port, StreamClient(port, KEYS["acme"]) as stream:
        last = stream.read_until("end")[-1]

    assert last["code"] == "idle_timeout"


def last_words(node: Worker, port: int, key_id: int, life_s: float) -> dict[str, Any]:
    """To a stream that sends an event and whose key expires; or the refusal, where it had before."""
    late = api_keys.issue().secret
    file, before = node._snapshot_file._path, node.snapshot
    assert before is not None
    newer = msgspec.structs.replace(
        before.header, built_wall_ms=before.header.built_wall_ms + 1, keys=before.header.keys + 1
    )
    expiring = key(late, "acme", key_id, expires_wall_s=time.time() + life_s)
    file.with_suffix(".new").write_bytes(dump(newer, list(before.tenants.values()), [*before.keys.values(), expiring]))
    file.with_suffix(".new").rename(file)
    assert poll_until(lambda: node.callers.find(api_keys.digest(late)) is not None, DEADLINE_S)
    with StreamClient(port, late) as stream:
        if stream.status != 200:
            return stream.body()
        stream.send([EVENT])
        return stream.read_until("end")[-1]


def test_a_key_that_expires_ends_its_stream_though_no_snapshot_says_so(node: Worker, port: int) -> None:
    # A busy machine may need more than the life of the first ones to come so far.
    for key_id, life_s in ((99, 4), (98, 16), (97, 64)):
        last = last_words(node, port, key_id, life_s)
        if last["code"] != "expired_key" or last.get("sequence"):
            break

    assert (last["code"], last["sequence"]) == ("expired_key", 1)


def test_a_tenant_holds_at_most_half_of_the_connections(node: Worker) -> None:
    with (
        listening(node, FOREBAY_LISTEN_CONNECTIONS=2) as port,
        StreamClient(port, KEYS["acme"]) as held,
        StreamClient(port, KEYS["acme"]) as refused,
        StreamClient(port, KEYS["echo"]) as stranger,
    ):
        assert (held.status, refused.status, stranger.status) == (200, 503, 200)
        assert refused.body()["code"] == "too_many_connections"


def test_a_sender_that_does_not_read_its_answer_is_dropped(node: Worker) -> None:
    def ended() -> float:
        return REGISTRY.get_sample_value("forebay_stream_ends_total", {"reason": "not_reading"}) or 0.0

    before = ended()
    with listening(node, FOREBAY_LISTEN_WRITE_TIMEOUT_S=0.3) as port, StreamClient(port, KEYS["acme"]) as stream:
        stream.socket.settimeout(0.5)
        # Bad lines, for each is told at length.
        with contextlib.suppress(OSError):
            while True:
                stream.send_bytes(b"{}\n" * 5_000)
        assert poll_until(lambda: ended() > before, DEADLINE_S)


def test_a_drained_listener_acknowledges_all_that_it_took_in_and_says_go_elsewhere(
    node: Worker, new_records: Callable[[], list[Record]]
) -> None:
    lines: list[dict[str, Any]] = []
    acknowledged, is_over = threading.Event(), threading.Event()
    sent = 0

    def hear() -> None:
        while (line := stream.read()) is not None:
            lines.append(line)
            if line["type"] == "ack":
                acknowledged.set()
        is_over.set()

    def send() -> None:
        nonlocal sent
        with contextlib.suppress(OSError):  # it is closed some time after its last line
            while not is_over.is_set():
                sent += 20
                stream.send([EVENT] * 20)

    with listening(node) as port:
        stream = StreamClient(port, KEYS["acme"])
        hearing = threading.Thread(target=hear)
        sending = threading.Thread(target=send)
        for thread in (hearing, sending):
            thread.start()
        assert acknowledged.wait(DEADLINE_S)
        # It is still sent to when it is told to stop.
    for thread in (hearing, sending):
        thread.join(DEADLINE_S)
    stream.socket.close()

    last = lines[-1]
    print(f"sent {sent}, acknowledged {last['sequence']}, stored {len(new_records())}")
    assert last["code"] == "go_elsewhere"
    assert sent > last["sequence"] == len(new_records())
    assert sum(line["accepted"] for line in lines if line["type"] == "ack") == last["sequence"]
