"""The listen process on a real node: streams and the live tail, and what Kafka has of each."""

import http.client
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

from redis import Redis

from tests.faults.conftest import wait_until_known
from tests.faults.traffic import Client, event
from tests.integration.conftest import SLOW_BURST, SLOW_PER_S, Platform
from tests.programs import poll_until
from tests.streaming import StreamClient

STREAMS = 1_000


def test_an_event_is_in_kafka_while_the_stream_is_open(platform: Platform) -> None:
    with platform.stream() as stream:
        opened = stream.read()
        stream.send([event("open", 1), event("open", 2)])
        acknowledged = stream.read_until("ack", sequence=2)[-1]
        stored = platform.values_of("open", 2)
        stream.send([event("open", 3)])
        later = stream.read_until("ack", sequence=3)[-1]
        stream.finish()
        last = stream.read_until("end")[-1]

    assert opened is not None
    assert (opened["type"], opened["sequence"], opened["first"]) == ("open", 0, 1)
    assert acknowledged == {"type": "ack", "sequence": 2, "accepted": 2}
    assert [value["eventId"] for value in stored] == ["open/1", "open/2"]
    assert later["accepted"] == 1
    assert last == {"type": "end", "sequence": 3}


def test_a_sender_over_its_quota_is_told_in_band_and_loses_nothing(platform: Platform) -> None:
    count = SLOW_BURST * 3

    with platform.stream("slow") as stream:
        stream.send([event("slow", number) for number in range(count)])
        lines = stream.read_until("ack", sequence=count)
    stored = platform.values_of("slow", count)

    waits = [line for line in lines if line["type"] == "wait"]
    print(f"sent {count}, stored {len(stored)}, lines {[line['type'] for line in lines]}")
    assert {line["code"] for line in waits} == {"quota_exceeded"}
    assert {(line["scope"], line["what"], line["limit"]) for line in waits} == {("tenant", "events_per_s", SLOW_PER_S)}
    assert all(line["retry_after_s"] > 0 for line in waits)
    assert sum(line["accepted"] for line in lines if line["type"] == "ack") == count
    assert len({value["eventId"] for value in stored}) == len(stored) == count


def test_a_stream_resumes_at_another_life_of_the_process_from_what_redis_knows(platform: Platform) -> None:
    with platform.stream(query="?stream=again&sequence=1") as stream:
        stream.send([event("again", number) | {"eventId": None} for number in range(1, 4)])
        stream.send_bytes(b'{"source":"again"}\n')
        stream.read_until("ack", sequence=4)
        stream.cut()
    before = platform.node.listen_pid()
    os.kill(before, signal.SIGKILL)
    assert poll_until(lambda: bool(platform.node.listen_pids() and platform.node.is_ready()), 60)
    assert platform.node.listen_pid() != before
    with platform.stream(query="?stream=again&sequence=2") as stream:
        opened = stream.read()
        said_again = stream.read()
        stream.send([event("again", number) | {"eventId": None} for number in range(2, 7)])
        acknowledged = stream.read_until("ack", sequence=6)[-1]
    stored = platform.values_of("again", 5)

    assert opened is not None
    assert said_again is not None
    assert (opened["sequence"], opened["first"]) == (4, 2)
    assert [(one["sequence"], one["code"]) for one in said_again["rejected"]] == [(4, "missing_field")]
    assert (acknowledged["known"], acknowledged["accepted"]) == (3, 2)
    assert sorted(value["message"] for value in stored) == [f"number {number}" for number in (1, 2, 3, 5, 6)]
    assert len({value["eventId"] for value in stored}) == 5


def test_whoever_sends_nothing_whole_is_closed(platform: Platform) -> None:
    with socket.create_connection(("127.0.0.1", platform.node.listen_port), 30) as headless:
        headless.sendall(b"POST /api/logs/stream HTTP/1.1\r\nX-Slow: ")
        answer = headless.makefile("rb").read()
    with platform.stream() as stream:
        stream.send_bytes(b'{"source":')
        last = stream.read_until("end")[-1]

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.rpartition(b"\r\n")[2])["code"] == "request_timeout"
    assert (last["code"], last["sequence"]) == ("line_timeout", 0)


def test_a_thousand_streams_live_in_one_process(platform: Platform) -> None:
    numbers = range(STREAMS)
    # One tenant may hold half of the 2,000 that a process holds.
    with ThreadPoolExecutor(32) as threads:
        streams = list(threads.map(lambda number: platform.stream("acme", f"?stream=k{number}&sequence=1"), numbers))
        try:
            open_now = platform.node.listen_pid()
            for number, stream in enumerate(streams):
                stream.send([event("thousand", number)])
            acknowledged = list(threads.map(lambda stream: stream.read_until("ack")[-1], streams))
        finally:
            for stream in streams:
                stream.cut()
    stored = platform.values_of("thousand", STREAMS)

    print(f"sent {STREAMS}, acknowledged {len(acknowledged)}, stored {len(stored)}")
    assert {line["sequence"] for line in acknowledged} == {1}
    assert {value["eventId"] for value in stored} == {f"thousand/{number}" for number in numbers}
    assert platform.node.listen_pid() == open_now


class TailReader:
    """Server-sent events of one reader, in a thread's hands of the test."""

    def __init__(self, platform: Platform, tenant: str, **filters: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", platform.node.listen_port, timeout=30)
        headers = {"Authorization": f"Bearer {platform.keys[tenant]}"}
        self._connection.request("GET", f"/api/logs/tail?{urlencode(filters)}", headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()

    def event(self) -> dict[str, Any]:
        while True:
            line = self._response.readline().decode()
            assert line, "the tail ended"
            if line.startswith("data: "):
                return dict(json.loads(line.removeprefix("data: ")))

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def test_the_tail_shows_a_tenant_its_own_events_filtered_and_redacted(platform: Platform) -> None:
    everything = TailReader(platform, "acme", source="tail-*")
    errors = TailReader(platform, "acme", source="tail-*", level="ERROR,fatal")
    strangers = TailReader(platform, "bolt")
    # A tail begins with what comes after its first look.
    with Client(platform.node.port, platform.keys["acme"]) as acme, ThreadPoolExecutor(1) as threads:
        first = threads.submit(everything.event)
        assert poll_until(lambda: _post(acme, event("tail-a", 1)) and first.done(), 30)
    with (
        Client(platform.node.port, platform.keys["acme"]) as acme,
        Client(platform.node.port, platform.keys["bolt"]) as bolt,
    ):
        _post(acme, event("tail-b", 2, message="mail bob@example.com", level="ERROR"))
        seen = everything.event()
        while seen["source"] != "tail-b":
            seen = everything.event()
        error = errors.event()
        _post(bolt, event("tail-c", 3))
        stranger = strangers.event()
    for reader in (everything, errors, strangers):
        reader.close()

    assert first.result()["source"] == "tail-a"
    assert (seen["message"], seen["level"]) == ("mail [email]", "ERROR")
    assert error["eventId"] == seen["eventId"]
    assert (stranger["tenant"], stranger["source"]) == ("bolt", "tail-c")


def _post(client: Client, one: dict[str, Any]) -> bool:
    answer = client.post("/api/logs", json.dumps(one).encode())
    time.sleep(0.05)
    return answer.status == 202


def test_a_listen_process_is_a_worker_of_its_own_kind(platform: Platform, redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        told = {name.decode(): json.loads(blob) for name, blob in client.hgetall("forebay:workers").items()}

    # The one that a test killed is still remembered.
    kinds = {one["kind"] for one in told.values()}
    assert kinds == {"listen", "web"}
    assert any(name.endswith(f"/{platform.node.listen_pid()}") for name, one in told.items() if one["kind"] == "listen")


def test_a_revoked_key_ends_its_stream(platform: Platform) -> None:
    made = json.loads(platform.node.manage("key_issue", "acme", "--json"))
    wait_until_known(platform.node, made["secret"])
    with StreamClient(platform.node.listen_port, made["secret"]) as stream:
        platform.node.manage("key_revoke", made["prefix"], "--reason", "test")
        last = stream.read_until("end")[-1]

    assert last["code"] == "revoked_key"
