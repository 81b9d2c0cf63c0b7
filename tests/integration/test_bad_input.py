"""Bad input over real HTTP to a real worker: refused as documented, in bounded memory, and nobody else notices.

The worker is the only one of its node, so that its memory can be read; the sockets are plain, to send what no client
library would.
"""

import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard

from tests.consumer import read_all, read_records
from tests.node import Node
from tests.programs import poll_until

GOOD = {"source": "checkout", "level": "INFO", "message": "paid"}
ONE = json.dumps(GOOD).encode()
MIB = 1 << 20
LIMIT_BYTES = 8 * MIB
# What the hostile bodies of this module may add to a worker at most, all at once; one read whole would add 400 MiB.
MOST_GROWTH_BYTES = 250 * MIB


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str:
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


class World(NamedTuple):
    node: Node
    key: str
    topic: str

    def head(self, *lines: str, path: str = "/api/logs") -> bytes:
        given = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {self.key}", *lines]
        return "\r\n".join([*given, "", ""]).encode("latin-1")

    def talk(self, *pieces: bytes, half_close: bool = False, timeout_s: float = 30.0) -> Reply | None:
        """Sends the pieces on a connection of their own; None when the server closes without an answer."""
        with socket.create_connection(("127.0.0.1", self.node.port), timeout=timeout_s) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):  # an early refusal closes while we still send
                pass
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return _reply(connection)

    def post(self, body: bytes, *lines: str, path: str = "/api/logs") -> Reply:
        reply = self.talk(self.head(f"Content-Length: {len(body)}", *lines, path=path), body)
        assert reply is not None
        return reply

    def memory_bytes(self, field: str = "VmRSS") -> int:
        (pid,) = self.node.worker_pids()
        (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field)]
        return int(line.split()[1]) * 1024

    def forget_peak(self) -> None:
        (pid,) = self.node.worker_pids()
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _reply(connection: socket.socket) -> Reply | None:
    received = b""
    try:
        while b"\r\n\r\n" not in received and (piece := connection.recv(65_536)):
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        if not head:
            return None
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        while len(body) < int(headers.get("content-length", 0)) and (piece := connection.recv(65_536)):
            body += piece
    except ConnectionResetError:
        return None
    is_json = "json" in headers.get("content-type", "")
    return Reply(int(line.split()[1]), headers, json.loads(body) if is_json else body)


@pytest.fixture(scope="module")
def world(kafka_bootstrap: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    var, topic = tmp_path_factory.mktemp("bad-input"), "bad-input"
    node = Node(
        var,
        kafka_bootstrap=kafka_bootstrap,
        redis_url=redis_url,
        database_url=f"sqlite:///{var / 'forebay.sqlite3'}",
        environment={"FOREBAY_TOPIC_DEFAULT": topic, "FOREBAY_WORKERS": "1", "FOREBAY_THREADS": "16"},
    )
    node.migrate()
    told = json.loads(node.manage("tenant_create", "acme", "--plan", "agent", "--issue-key", "--json"))
    node.start()
    made = World(node, told["key"]["secret"], topic)
    assert poll_until(lambda: made.post(ONE).status == 202, 30)
    yield made
    node.stop()


# --- lengths ---------------------------------------------------------------------------------------------------------
def chunks(body: bytes, size: int = 10_000) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_an_answer_says_its_length_and_echoes_the_correlation_id(world: World) -> None:
    reply = world.post(ONE, "X-Correlation-ID: order-17")

    assert reply.status == 202
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-correlation-id"] == "order-17"
    assert "transfer-encoding" not in reply.headers


@pytest.mark.parametrize("size", [len(ONE), 70_000, 1_000_000])
def test_a_chunked_body_is_taken(world: World, size: int) -> None:
    reply = world.talk(world.head("Transfer-Encoding: chunked"), chunks(ONE.ljust(size)))

    assert reply is not None
    assert (reply.status, reply.body["status"]) == (202, "Accepted")


def test_a_body_over_the_limit_is_refused_by_its_length_before_it_is_sent(world: World) -> None:
    reply = world.talk(world.head("Content-Length: 400000000"))

    assert reply is not None
    assert (reply.status, reply.code, reply.body["limit"]) == (413, "body_too_large", LIMIT_BYTES)


@pytest.mark.parametrize("length", ["abc", "-1", "1.5", "9" * 30])
def test_a_length_that_is_none_is_refused(world: World, length: str) -> None:
    reply = world.talk(world.head(f"Content-Length: {length}"), ONE)

    assert reply is None or 400 <= reply.status < 500


def test_two_lengths_are_not_believed(world: World) -> None:
    reply = world.talk(world.head(f"Content-Length: {len(ONE)}", "Content-Length: 5"), ONE)

    assert reply is None or 400 <= reply.status < 500


def test_a_length_beside_chunks_does_not_smuggle_a_second_request(world: World) -> None:
    hidden = world.head(f"Content-Length: {len(ONE)}") + ONE

    reply = world.talk(world.head("Content-Length: 4", "Transfer-Encoding: chunked"), b"0\r\n\r\n", hidden)

    assert reply is None or 400 <= reply.status < 500


def test_a_body_that_ends_before_its_length_is_not_accepted(world: World) -> None:
    whole = json.dumps(GOOD | {"eventId": "cut-short"}).encode()

    reply = world.talk(world.head(f"Content-Length: {len(whole) + 1}"), whole, half_close=True)
    world.post(json.dumps(GOOD | {"eventId": "after-cut-short"}).encode())

    assert reply is None or 400 <= reply.status < 500
    assert "cut-short" not in stored_ids(world, until="after-cut-short")


def test_of_a_chunked_body_that_ends_early_only_whole_events_are_accepted(world: World) -> None:
    """The server does not tell the end of a connection from the end of the chunks; a sender without an answer sends
    again, so that what was whole comes twice and nothing is lost."""
    lines = [json.dumps(GOOD | {"eventId": f"chunked-{at}"}).encode() + b"\n" for at in range(3)]
    cut = chunks(b"".join(lines), size=len(lines[0]))[: 2 * len(lines[0]) + 30]

    world.talk(world.head("Transfer-Encoding: chunked", path="/api/logs/batch"), cut, half_close=True)
    world.post(json.dumps(GOOD | {"eventId": "after-chunked"}).encode())

    ids = stored_ids(world, until="after-chunked")
    assert "chunked-2" not in ids
    assert {one for one in ids if one.startswith("chunked-")} <= {"chunked-0", "chunked-1"}


def stored(world: World, until: str) -> list[Any]:
    bootstrap = world.node.environment["FOREBAY_KAFKA_BOOTSTRAP_SERVERS"]
    mark = f'"eventId":"{until}"'.encode()
    return read_records(bootstrap, world.topic, until=lambda found: any(mark in record.value for record in found))


def stored_ids(world: World, until: str) -> list[str]:
    return [json.loads(record.value)["eventId"] for record in stored(world, until)]


# --- what is in it ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (ONE[:-1] + b',"tenant":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"a":' * 100_000, 400),
        (ONE.replace(b"paid", b"\xff"), 400),
        (ONE.replace(b"paid", b"\\ud800"), 400),
        (ONE.replace(b'"paid"', b"NaN"), 400),
        (ONE.replace(b"checkout", b"c" * 300), 400),
    ],
    ids=["empty", "cut", "depth", "depth in an event", "depth of objects", "bad UTF-8", "surrogate", "NaN", "source"],
)
@pytest.mark.parametrize("path", ["/api/logs", "/api/logs/batch"])
def test_what_is_no_event_is_refused(world: World, path: str, body: bytes, status: int) -> None:
    reply = world.post(body, path=path)

    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (gzip.compress(ONE), "gzip", 202, ""),
        (gzip.compress(ONE[:9]) + gzip.compress(ONE[9:]), "gzip", 202, ""),
        (zlib.compress(ONE), "deflate", 202, ""),
        (zstandard.compress(ONE), "zstd", 202, ""),
        (gzip.compress(ONE)[:-4], "gzip", 400, "malformed_compression"),
        (gzip.compress(ONE) + b"garbage", "gzip", 400, "malformed_compression"),
        (zstandard.compress(ONE)[:-4], "zstd", 400, "malformed_compression"),
        (ONE, "br", 415, "unsupported_encoding"),
    ],
)
def test_compression_is_undone_or_refused(world: World, body: bytes, encoding: str, status: int, code: str) -> None:
    reply = world.post(body, f"Content-Encoding: {encoding}")

    assert (reply.status, reply.code) == (status, code)


# --- memory ----------------------------------------------------------------------------------------------------------
Attack = Callable[[World], Reply | None]


def bomb(compress: Callable[[bytes], bytes], encoding: str) -> Attack:
    body = compress(bytes(400 * MIB))
    return lambda world: world.post(body, f"Content-Encoding: {encoding}")


def endless_chunks(world: World) -> Reply | None:
    piece = b"100000\r\n" + b" " * MIB + b"\r\n"
    return world.talk(world.head("Transfer-Encoding: chunked"), *[piece] * 400)


def hostile_array(world: World) -> Reply | None:
    return world.post(b"[" + b"1," * (LIMIT_BYTES // 2 - 2) + b"1]", path="/api/logs/batch")


def hostile_lines(world: World) -> Reply | None:
    return world.post(b"{}\n" * (LIMIT_BYTES // 3), path="/api/logs/batch")


def countless_members(world: World) -> Reply | None:
    return world.post(gzip.compress(b"") * 400_000, "Content-Encoding: gzip")


@pytest.mark.parametrize(
    ("attack", "statuses"),
    [
        (bomb(gzip.compress, "gzip"), {413}),
        (bomb(zstandard.compress, "zstd"), {413}),
        (endless_chunks, {413, None}),  # the server closes under a sender that goes on sending
        (hostile_array, {400}),
        (hostile_lines, {413}),
        (countless_members, {400}),
    ],
    ids=["gzip bomb", "zstd bomb", "endless chunks", "array of numbers", "lines of nothing", "empty members"],
)
def test_hostile_bodies_are_refused_in_bounded_memory(
    world: World, attack: Attack, statuses: set[int | None], request: pytest.FixtureRequest
) -> None:
    world.post(ONE)
    world.forget_peak()
    before = world.memory_bytes()

    with ThreadPoolExecutor(8) as senders:
        replies = list(senders.map(lambda _: attack(world), range(16)))

    peak, after = world.memory_bytes("VmHWM"), world.memory_bytes()
    print(
        f"{request.node.callspec.id}, 16 by 8 at a time: resident {before / MIB:.0f} MiB before, "
        f"{peak / MIB:.0f} at most, {after / MIB:.0f} after"
    )
    assert {reply and reply.status for reply in replies} <= statuses
    assert peak - before < MOST_GROWTH_BYTES
    assert world.post(ONE).status == 202


# --- in the end ------------------------------------------------------------------------------------------------------
def test_a_mixed_batch_arrives_without_its_bad_events(world: World) -> None:
    sent = [GOOD | {"eventId": f"mixed-{at}"} if at % 3 else {"bad": at} for at in range(300)]

    reply = world.post(json.dumps(sent).encode(), path="/api/logs/batch")

    assert (reply.status, reply.body["accepted"], reply.body["failed"]) == (207, 200, 100)
    assert [error["index"] for error in reply.body["errors"]] == list(range(0, 300, 3))
    world.post(json.dumps(GOOD | {"eventId": "after-mixed"}).encode())
    stored(world, until="after-mixed")
    bootstrap = world.node.environment["FOREBAY_KAFKA_BOOTSTRAP_SERVERS"]

    def mixed() -> set[str]:
        ids = (json.loads(record.value)["eventId"] for record in read_all(bootstrap, world.topic))
        return {one for one in ids if one.startswith("mixed-")}

    assert poll_until(lambda: len(mixed()) == 200, 20)
    assert mixed() == {one["eventId"] for one in sent if "eventId" in one}


def test_after_all_of_it_the_worker_is_the_same_and_well(world: World) -> None:
    log = world.node.log.read_text()

    assert len(world.node.worker_pids()) == 1
    assert world.node.is_ready()
    assert "Traceback" not in log
    assert "internal_error" not in log
