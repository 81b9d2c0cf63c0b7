"""A stream as a WebSocket, with another implementation at its other end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import websocket
from prometheus_client import REGISTRY

from ingest.worker import Worker
from tests.contract.cast import KEYS
from tests.contract.listening import DEADLINE_S, EVENT, ask, listening
from tests.programs import poll_until


@contextmanager
def connected(port: int, query: str = "", key: str = "acme") -> Iterator[websocket.WebSocket]:
    address = f"ws://127.0.0.1:{port}/api/logs/stream{query}"
    socket = websocket.create_connection(address, timeout=DEADLINE_S, header=[f"X-API-Key: {KEYS[key]}"])
    try:
        yield socket
    finally:
        socket.close()
        socket.shutdown()  # type: ignore[no-untyped-call]  # the library leaves it untyped


def until(socket: websocket.WebSocket, kind: str, **fields: Any) -> dict[str, Any]:
    """The first message of a kind that has these fields."""
    while True:
        line: dict[str, Any] = json.loads(socket.recv())
        if line["type"] == kind and fields.items() <= line.items():
            return line


def test_messages_are_lines_both_ways_and_the_stream_goes_on_after_a_cut(port: int) -> None:
    with connected(port, "?stream=ws&sequence=1") as socket:
        opened = until(socket, "open")
        socket.ping("are you there")
        socket.send(json.dumps(EVENT))
        socket.send_binary(b"\n".join([json.dumps(EVENT).encode()] * 2))
        acknowledged = until(socket, "ack", sequence=3)
    with connected(port, "?stream=ws&sequence=2") as socket:
        again = until(socket, "open")
        for _ in range(3):
            socket.send(json.dumps(EVENT))
        resumed = until(socket, "ack", sequence=4)

    assert (opened["sequence"], acknowledged["type"]) == (0, "ack")
    assert again["sequence"] == 3
    assert resumed["accepted"] == 1


def test_bad_lines_are_told_and_a_large_message_in_frames_is_one_line(port: int) -> None:
    large = json.dumps(EVENT | {"message": "x" * 200_000}).encode()
    with connected(port) as socket:
        socket.send("no json")
        rejected = until(socket, "ack", sequence=1)["rejected"]
        socket.send_frame(websocket.ABNF.create_frame(large[:100_000], websocket.ABNF.OPCODE_BINARY, 0))
        socket.send_frame(websocket.ABNF.create_frame(large[100_000:], websocket.ABNF.OPCODE_CONT, 1))
        acknowledged = until(socket, "ack", sequence=2)

    assert [one["code"] for one in rejected] == ["malformed_json"]
    assert acknowledged["accepted"] == 1


def ended(reason: str) -> float:
    return REGISTRY.get_sample_value("forebay_stream_ends_total", {"reason": reason}) or 0.0


def say_goodbye(socket: websocket.WebSocket, code: int) -> bytes:
    """Returns what it is answered with."""
    socket.send_close(code)
    return goodbye(socket)


def goodbye(socket: websocket.WebSocket) -> bytes:
    """Forebay's, after the lines that are on their way."""
    while True:
        opcode, data = socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return bytes(data)


def test_a_goodbye_is_answered_and_counted_and_what_came_before_it_is_taken_in(port: int) -> None:
    before = ended("complete")
    with connected(port, "?stream=bye&sequence=1") as socket:
        until(socket, "open")
        socket.send(json.dumps(EVENT))
        answer = say_goodbye(socket, 1001)
    with connected(port, "?stream=bye&sequence=1") as socket:
        again = until(socket, "open")

    assert answer == (1001).to_bytes(2)
    assert poll_until(lambda: ended("complete") >= before + 1, DEADLINE_S)
    assert again["sequence"] == 1


def test_a_goodbye_within_a_message_costs_no_line_when_it_comes_again(port: int) -> None:
    before = ended("incomplete_body")
    with connected(port, "?stream=within&sequence=1") as socket:
        until(socket, "open")
        socket.send(json.dumps(EVENT))
        socket.send_frame(websocket.ABNF.create_frame(json.dumps(EVENT)[:10], websocket.ABNF.OPCODE_TEXT, 0))
        say_goodbye(socket, 1000)
    with connected(port, "?stream=within&sequence=2") as socket:
        socket.send(json.dumps(EVENT))
        acknowledged = until(socket, "ack", sequence=2)

    assert acknowledged["accepted"] == 1
    assert poll_until(lambda: ended("incomplete_body") == before + 1, DEADLINE_S)


def test_what_is_not_utf_8_ends_the_stream_which_says_so(port: int) -> None:
    with connected(port) as socket:
        socket.send(json.dumps(EVENT))
        socket.send_frame(websocket.ABNF.create_frame(b"\xff", websocket.ABNF.OPCODE_TEXT, 1))
        last = until(socket, "end")
        answer = goodbye(socket)

    assert (last["sequence"], last["code"], answer[:2]) == (1, "incomplete_body", (1007).to_bytes(2))


def test_a_drained_process_says_go_elsewhere_and_closes(node: Worker) -> None:
    with listening(node) as port:
        socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}/api/logs/stream", timeout=DEADLINE_S, header=[f"X-API-Key: {KEYS['acme']}"]
        )
        until(socket, "open")
    last = until(socket, "end")
    opcode, _ = socket.recv_data()
    socket.shutdown()  # type: ignore[no-untyped-call]  # the library leaves it untyped

    assert (last["code"], opcode) == ("go_elsewhere", websocket.ABNF.OPCODE_CLOSE)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"X-API-Key": KEYS["cruxgone"]}, 401, "revoked_key"),
        ({"X-API-Key": KEYS["acme"]}, 400, "invalid_handshake"),
    ],
)
def test_what_is_refused_is_answered_without_a_handshake(
    port: int, headers: dict[str, str], status: int, code: str
) -> None:
    answer, problem = ask(port, "GET", "/api/logs/stream", Upgrade="websocket", Connection="Upgrade", **headers)

    assert (answer, problem["code"]) == (status, code)
