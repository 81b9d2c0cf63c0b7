"""The listen process on a real node: streams, the live tail and syslog, and what Kafka has of each."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from redis import Redis

from forebay.local.ports import free_port
from tests.conftest import new_database
from tests.consumer import Record, read_all, read_records
from tests.faults.accounts import samples_of
from tests.faults.conftest import admit_tenant, wait_until_known
from tests.faults.traffic import Client, event
from tests.node import Node
from tests.programs import poll_until
from tests.streaming import StreamClient

STREAMS = 1_000
SLOW_PER_S, SLOW_BURST = 20, 40


@dataclass
class Platform:
    """One node with everything on, for all tests of this file; each has sources of its own."""

    node: Node
    bootstrap: str
    topic: str
    keys: dict[str, str]
    ports: dict[str, int]
    certificates: Path

    def stream(self, tenant: str = "acme", query: str = "") -> StreamClient:
        return StreamClient(self.node.listen_port, self.keys[tenant], query)

    def values_of(self, source: str, count: int) -> list[dict[str, Any]]:
        """What Kafka has of a source, once so many are there."""

        def of_source(records: list[Record]) -> list[dict[str, Any]]:
            return [value for record in records if (value := json.loads(record.value))["source"] == source]

        records = read_records(self.bootstrap, self.topic, until=lambda found: len(of_source(found)) >= count)
        return of_source(records)


def certificates_in(directory: Path) -> None:
    """An authority, a server of it, a client called router.example, and another authority's client of that name."""
    for authority in ("ca", "stranger"):
        openssl(
            directory,
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}"),
            *("-keyout", f"{authority}.key", "-out", f"{authority}.pem"),
        )
    for name, subject, authority in (
        ("server", "localhost", "ca"),
        ("client", "router.example", "ca"),
        ("impostor", "router.example", "stranger"),
    ):
        openssl(
            directory,
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={subject}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        openssl(
            directory,
            *("x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", f"{authority}.pem"),
            *("-CAkey", f"{authority}.key", "-CAcreateserial", "-out", f"{name}.pem"),
        )


def openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def _key_for_all(node: Node, tenant: str) -> str:
    admit_tenant(node, tenant)
    made = json.loads(node.manage("key_issue", tenant, "--scopes", "ingest", "read", "--json"))
    return str(made["secret"])


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_bootstrap: str,
    redis_url: str,
    postgres_url: str,
    migrated_database: str,
) -> Iterator[Platform]:
    with Redis.from_url(redis_url) as client:
        client.flushdb()
    certificates = tmp_path_factory.mktemp("certificates")
    certificates_in(certificates)
    topic = f"listening-{uuid4().hex[:8]}"
    ports = {name: free_port() for name in ("listen", "tcp", "token", "tls", "udp")}
    environment = {
        "FOREBAY_TOPIC_DEFAULT": topic,
        "FOREBAY_LISTEN_PORT": str(ports["listen"]),
        "FOREBAY_SYSLOG_TCP": f"{ports['tcp']}=acme,{ports['token']}",
        "FOREBAY_SYSLOG_TLS": str(ports["tls"]),
        "FOREBAY_SYSLOG_UDP": f"{ports['udp']}=acme",
        "FOREBAY_SYSLOG_TLS_CERTIFICATE_FILE": str(certificates / "server.pem"),
        "FOREBAY_SYSLOG_TLS_KEY_FILE": str(certificates / "server.key"),
        "FOREBAY_SYSLOG_TLS_CLIENT_CA_FILE": str(certificates / "ca.pem"),
        "FOREBAY_SYSLOG_CERTIFICATES": "router.example=bolt",
        "FOREBAY_SYSLOG_UDP_BUFFER_BYTES": "2304",
        "FOREBAY_LISTEN_HEAD_TIMEOUT_S": "1",
        "FOREBAY_LISTEN_LINE_TIMEOUT_S": "1",
    }
    with new_database(postgres_url, migrated_database) as database_url:
        node = Node(
            tmp_path_factory.mktemp("node"),
            kafka_bootstrap=kafka_bootstrap,
            redis_url=redis_url,
            database_url=database_url,
            environment=environment,
        )
        node.manage(
            *("shell", "--verbosity", "0", "--command"),
            "from tenants.models import Plan\n"
            f"Plan.objects.create(name='slow', events_per_s={SLOW_PER_S}, burst_events={SLOW_BURST})",
        )
        keys = {name: _key_for_all(node, name) for name in ("acme", "bolt")}
        keys["slow"] = admit_tenant(node, "slow", plan="slow")
        try:
            node.start()
            yield Platform(node, kafka_bootstrap, topic, keys, ports, certificates)
        finally:
            node.stop()
            print(node.log.read_text(errors="replace")[-4_000:])


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


def test_syslog_over_tcp_in_both_framings_is_the_ports_tenants(platform: Platform) -> None:
    counted = b"<11>1 2030-01-01T00:00:00Z web-1 sys-tcp 42 - - two\nlines"
    with socket.create_connection(("127.0.0.1", platform.ports["tcp"])) as sender:
        sender.sendall(b"<14>sys-tcp[7]: a line\n" + b"%d %s" % (len(counted), counted) + b"<14>sys-tcp: last")
        sender.shutdown(socket.SHUT_WR)
        sender.settimeout(30)
        assert sender.recv(1) == b""

    stored = {value["message"]: value for value in platform.values_of("sys-tcp", 3)}

    assert set(stored) == {"a line", "two\nlines", "last"}
    assert {value["tenant"] for value in stored.values()} == {"acme"}
    assert (stored["two\nlines"]["level"], stored["two\nlines"]["hostname"]) == ("ERROR", "web-1")
    assert stored["a line"]["metadata"] == {"facility": "user", "procid": "7"}
    assert stored["a line"]["hostname"] == "127.0.0.1"


def test_a_key_in_the_structured_data_says_whose_it_is_and_nobodys_is_counted(platform: Platform) -> None:
    key = platform.keys["bolt"]
    with socket.create_connection(("127.0.0.1", platform.ports["token"])) as sender:
        sender.sendall(f'<14>1 - - sys-key - - [forebay@32473 key="{key}"] mine\n'.encode())
        sender.sendall(b"<14>1 - - sys-key - - - nobody's\n" * 3)
    (stored,) = platform.values_of("sys-key", 1)

    assert (stored["tenant"], stored["message"]) == ("bolt", "mine")
    assert key not in json.dumps(stored)
    assert poll_until(lambda: lost(platform, "tcp", "missing_key") == 3, 20)


def test_a_client_certificate_says_whose_it_is_and_a_strangers_is_refused(platform: Platform) -> None:
    with tls(platform, "client") as sender:
        sender.sendall(b"<14>sys-tls: mine\n")
        sender.unwrap()
    (stored,) = platform.values_of("sys-tls", 1)

    assert (stored["tenant"], stored["message"]) == ("bolt", "mine")
    with contextlib.suppress(OSError), tls(platform, "impostor") as sender:
        # With TLS 1.3 a client hears of its refusal when it reads, if at all.
        sender.sendall(b"<14>sys-tls: not mine\n")
        assert sender.recv(1) == b""
    with tls(platform, "client") as sender:
        sender.sendall(b"<14>sys-tls: after it\n")
    assert [value["message"] for value in platform.values_of("sys-tls", 2)] == ["mine", "after it"]


def tls(platform: Platform, client: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(platform.certificates / "ca.pem"))
    context.check_hostname = False
    context.load_cert_chain(platform.certificates / f"{client}.pem", platform.certificates / f"{client}.key")
    return context.wrap_socket(socket.create_connection(("127.0.0.1", platform.ports["tls"]), 30))


def lost(platform: Platform, transport: str, reason: str = "") -> int:
    samples = samples_of(platform.node, "forebay_syslog_lost_messages")
    return int(
        sum(
            one.value
            for one in samples
            if one.name.endswith("_total")
            and one.labels["transport"] == transport
            and (not reason or one.labels["reason"] == reason)
        )
    )


def test_what_udp_loses_is_counted(platform: Platform) -> None:
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", platform.ports["udp"]))
        # Until the little buffer of this node has overflown.
        while not lost(platform, "udp", "kernel"):
            assert sent < 1_000_000
            for _ in range(2_000):
                sent += 1
                sender.send(b"<14>sys-udp: number %d" % sent)

    def stored() -> int:
        values = [json.loads(record.value) for record in read_all(platform.bootstrap, platform.topic)]
        return sum(value["source"] == "sys-udp" for value in values)

    assert poll_until(lambda: stored() + lost(platform, "udp") == sent, 60)
    print(f"sent {sent}, stored {stored()}, lost and counted {lost(platform, 'udp')}")
    assert stored() > 0
    assert poll_until(lambda: "syslog messages are lost" in platform.node.log.read_text(), 20)


def test_a_listen_process_is_a_worker_of_its_own_kind(platform: Platform, redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        told = {name.decode(): json.loads(blob) for name, blob in client.hgetall("forebay:workers").items()}

    kinds = sorted(one["kind"] for one in told.values())
    assert kinds == ["listen", "web"]
    assert any(name.endswith(f"/{platform.node.listen_pid()}") for name, one in told.items() if one["kind"] == "listen")


def test_a_revoked_key_ends_its_stream(platform: Platform) -> None:
    made = json.loads(platform.node.manage("key_issue", "acme", "--json"))
    wait_until_known(platform.node, made["secret"])
    with StreamClient(platform.node.listen_port, made["secret"]) as stream:
        platform.node.manage("key_revoke", made["prefix"], "--reason", "test")
        last = stream.read_until("end")[-1]

    assert last["code"] == "revoked_key"
