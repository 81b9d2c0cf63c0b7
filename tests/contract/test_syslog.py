"""Syslog as its senders meet it, on one worker in this process: floods, defects, who waits, and what is counted."""

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from forebay.local.ports import free_port
from ingest.dataplane.errors import StreamEnded
from ingest.dataplane.event import Decoded
from ingest.dataplane.segments import Record
from ingest.sources import listener
from ingest.sources.connections import Connections
from ingest.sources.syslog_losses import Losses
from ingest.sources.syslog_senders import Port, Received, Senders
from ingest.sources.syslog_tcp import REST_BYTES, SyslogConnection, SyslogConnections
from ingest.worker import Worker
from tests.contract.cast import BOLTS_EVENTS_A_DAY, KEYS
from tests.contract.listening import DEADLINE_S, answers, listening
from tests.integration.conftest import certificates_in
from tests.programs import poll_until
from tests.streaming import StreamClient

FLOOD_S = 30
# What it costs to send is far below what it costs to understand.
_FLOOD = f"""
import socket, sys, time
message = b"<14>1 - - flood - - [a@1" + b' name="value"' * 100 + b"] nobody's"
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end_s = time.monotonic() + {FLOOD_S}
while time.monotonic() < end_s:
    for _ in range(100):
        try:
            sender.sendto(message, ("127.0.0.1", int(sys.argv[1])))
        except OSError:
            pass
"""


@contextmanager
def flooded(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Datagrams from another process, as fast as it can, also when nobody hears them."""
    with subprocess.Popen([sys.executable, "-S", "-c", _FLOOD, str(port)]) as flood:
        try:
            yield flood
        finally:
            flood.kill()


def lost(transport: str, reason: str) -> int:
    labels = {"transport": transport, "reason": reason}
    return int(REGISTRY.get_sample_value("forebay_syslog_lost_messages_total", labels) or 0)


def messages_in(records: list[Record]) -> list[str]:
    return [json.loads(record[3])["message"] for record in records]


def send_udp(port: int, *messages: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for message in messages:
            sender.sendto(message, ("127.0.0.1", port))


def test_a_flood_over_udp_does_not_keep_a_process_from_ending(node: Worker, caplog: pytest.LogCaptureFixture) -> None:
    udp, before = free_port(), lost("udp", "missing_key")
    with flooded(udp) as flood:
        with listening(node, FOREBAY_SYSLOG_UDP=[str(udp)]) as port:
            stream = StreamClient(port, KEYS["acme"])
            assert poll_until(lambda: lost("udp", "missing_key") > before, DEADLINE_S)
        # The listener is gone, and the flood is not over.
        assert flood.poll() is None
    with stream:
        last = stream.read_until("end")[-1]

    assert last["code"] == "go_elsewhere"
    assert "cannot be counted" not in caplog.text


def test_what_has_come_over_udp_before_the_end_is_taken_in(
    node: Worker, new_records: Callable[[], list[Record]]
) -> None:
    udp = free_port()
    with listening(node, FOREBAY_SYSLOG_UDP=[f"{udp}=acme"]):
        send_udp(udp, *(b"<14>end: %d" % number for number in range(50)))

    assert messages_in(new_records()) == [str(number) for number in range(50)]


@pytest.fixture
def defective(node: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that syslog cannot understand a message with a time by."""
    nonsense: Any = None
    monkeypatch.setattr(node, "event_limits", replace(node.event_limits, timestamp_max_age_s=nonsense))


@pytest.mark.usefixtures("defective")
def test_a_defect_that_a_datagram_meets_costs_that_one_alone(
    node: Worker, new_records: Callable[[], list[Record]], caplog: pytest.LogCaptureFixture
) -> None:
    udp, before = free_port(), lost("udp", "internal_error")
    with listening(node, FOREBAY_SYSLOG_UDP=[f"{udp}=acme"]):
        send_udp(udp, b"<14>defect: beside it", b"<14>2030-01-01T00:00:00Z host defect: the defect")
        assert poll_until(lambda: lost("udp", "internal_error") == before + 1, DEADLINE_S)
        send_udp(udp, b"<14>defect: after it")
        assert poll_until(lambda: messages_in(new_records()) == ["beside it", "after it"], DEADLINE_S)

    assert "a syslog message failed" in caplog.text


@pytest.mark.usefixtures("defective")
def test_a_defect_that_a_message_meets_does_not_cost_its_connection(
    node: Worker, new_records: Callable[[], list[Record]]
) -> None:
    tcp, before = free_port(), lost("tcp", "internal_error")
    with (
        listening(node, FOREBAY_SYSLOG_TCP=[f"{tcp}=acme"]),
        socket.create_connection(("127.0.0.1", tcp), DEADLINE_S) as sender,
    ):
        sender.sendall(b"<14>defect: beside it\n<14>2030-01-01T00:00:00Z host defect: the defect\n")
        assert poll_until(lambda: lost("tcp", "internal_error") == before + 1, DEADLINE_S)
        sender.sendall(b"<14>defect: after it\n")
        assert poll_until(lambda: messages_in(new_records()) == ["beside it", "after it"], DEADLINE_S)


def test_a_defect_in_taking_a_window_in_costs_that_window_alone(node: Worker) -> None:
    reasons: list[tuple[str, int]] = []
    senders = Senders(node, node.event_limits, lambda *told: reasons.append(told), waits=False)
    (owned,) = senders.sort([Received(b"<14>defect: x", "192.0.2.1")] * 3, "acme")

    def decode(documents: Sequence[bytes], first: int) -> Decoded:
        raise ValueError("a defect")

    asyncio.run(senders.offer(owned._replace(window=owned.window._replace(decode=decode))))

    assert reasons == [("internal_error", 3)]


def test_who_waits_for_a_quota_at_the_end_does_not_cost_another_tenants_messages(
    node: Worker, new_records: Callable[[], list[Record]]
) -> None:
    tcp, lost_before = free_port(), lost("tcp", "go_elsewhere")
    sent = {"bolt": BOLTS_EVENTS_A_DAY + 2, "acme": 4}
    lines = [f'<14>1 - - {name} - - [forebay@1 key="{KEYS[name]}"] m\n' for name in sent for _ in range(sent[name])]
    with listening(node, FOREBAY_SYSLOG_TCP=[str(tcp)]):
        before = waits()
        with socket.create_connection(("127.0.0.1", tcp), DEADLINE_S) as sender:
            sender.sendall("".join(lines).encode())
            assert poll_until(lambda: waits() > before, DEADLINE_S)

    stored = Counter(json.loads(record[3])["source"] for record in new_records())
    print(f"sent {sent}, stored {dict(stored)}, lost and counted {lost('tcp', 'go_elsewhere') - lost_before}")
    assert stored["acme"] == sent["acme"]
    assert stored["bolt"] + lost("tcp", "go_elsewhere") - lost_before == sent["bolt"]


def test_what_has_arrived_at_the_end_leaves_the_others_their_turns(
    node: Worker, new_records: Callable[[], list[Record]]
) -> None:
    message, arrived, before = b"<14>rest: " + b"x" * 90 + b"\n", 40_000, lost("tcp", "go_elsewhere")

    async def end() -> tuple[int, int]:
        here, there = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=here)
        connections = SyslogConnections(node, Connections(1), Losses(), {})
        connection = SyslogConnection(connections, reader, writer, Port(1, "acme"))
        connection.end(StreamEnded("go_elsewhere", "The process ends"))
        reader.feed_data(message * arrived)
        reader.feed_eof()
        with there:
            ending = asyncio.create_task(connection.run())
            turns = 0
            while not ending.done():
                await asyncio.sleep(0)
                turns += 1
            writer.close()
            assert isinstance(ending.exception(), StreamEnded)
        return turns, connections.pace.window_events

    turns, window_events = asyncio.run(end())
    stored, counted = len(new_records()), lost("tcp", "go_elsewhere") - before

    print(f"{arrived} arrived, {stored} stored, {counted} lost and counted, {turns} turns of others")
    assert turns >= stored // window_events
    assert REST_BYTES // len(message) <= stored < arrived
    assert stored + counted == arrived


def waits() -> float:
    return REGISTRY.get_sample_value("forebay_listen_waits_total", {"reason": "quota_exceeded"}) or 0.0


def held() -> int:
    return int(REGISTRY.get_sample_value("forebay_listen_connections", {"kind": "syslog"}) or 0)


def connected(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), DEADLINE_S, source_address=(address, 0))


def test_whoever_has_not_said_whose_it_is_leaves_room_for_streams_and_is_counted(node: Worker) -> None:
    tcp, before = free_port(), lost("tcp", "too_many_connections")
    with contextlib.ExitStack() as opened:
        port = opened.enter_context(listening(node, FOREBAY_LISTEN_CONNECTIONS=8, FOREBAY_SYSLOG_TCP=[str(tcp)]))
        for address in ("127.0.0.1", "127.0.0.2"):
            for _ in range(4):
                opened.enter_context(connected(tcp, address))

        assert poll_until(lambda: held() + lost("tcp", "too_many_connections") - before == 8, DEADLINE_S)
        assert opened.enter_context(StreamClient(port, KEYS["acme"])).status == 200
        assert held() == 2


def test_a_connection_that_does_not_say_whose_it_is_is_closed(
    node: Worker, new_records: Callable[[], list[Record]]
) -> None:
    tcp = free_port()
    line = f'<14>1 - - idle - - [forebay@1 key="{KEYS["acme"]}"] mine\n'.encode()
    with (
        listening(node, FOREBAY_STREAM_IDLE_TIMEOUT_S=2.0, FOREBAY_SYSLOG_TCP=[str(tcp)]),
        connected(tcp) as known,
    ):
        known.sendall(line)
        assert poll_until(lambda: len(new_records()) == 1, DEADLINE_S)
        with connected(tcp) as stranger:
            stranger.sendall(b"<14>idle: nobody's\n")
            assert stranger.recv(1) == b""
        known.sendall(line)

        assert poll_until(lambda: len(new_records()) == 2, DEADLINE_S)


def test_a_peer_that_is_gone_without_a_word_is_noticed(node: Worker) -> None:
    tcp = free_port()
    with listening(node, FOREBAY_SYSLOG_TCP=[f"{tcp}=acme"]), connected(tcp) as sender:
        assert poll_until(lambda: held() == 1, DEADLINE_S)

        assert timer_of(tcp, sender.getsockname()[1]) == KEEPALIVE_TIMER


KEEPALIVE_TIMER = "02"


def timer_of(local_port: int, remote_port: int) -> str:
    """Of an established connection (proc(5), net/tcp)."""
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (timer,) = [
        one[5].partition(":")[0]
        for one in fields
        if one[1].endswith(f":{local_port:04X}") and one[2].endswith(f":{remote_port:04X}")
    ]
    return timer


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    certificates_in(directory)
    return directory


def with_tls(certificates: Path, port: int) -> dict[str, Any]:
    """Settings of a port that is Acme's."""
    return {
        "FOREBAY_SYSLOG_TLS": [f"{port}=acme"],
        "FOREBAY_SYSLOG_TLS_CERTIFICATE_FILE": str(certificates / "server.pem"),
        "FOREBAY_SYSLOG_TLS_KEY_FILE": str(certificates / "server.key"),
    }


def test_what_is_sent_over_tls_all_arrives(
    node: Worker, certificates: Path, new_records: Callable[[], list[Record]]
) -> None:
    tls, count = free_port(), 2_000
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.check_hostname = False
    with listening(node, **with_tls(certificates, tls)), context.wrap_socket(connected(tls)) as sender:
        sender.sendall(b"".join(b"<14>tls: %d %s\n" % (number, b"x" * 500) for number in range(count)))

        assert poll_until(lambda: len(new_records()) == count, DEADLINE_S)

    assert [int(message.split()[0]) for message in messages_in(new_records())] == list(range(count))


def test_those_who_have_said_nothing_do_not_keep_a_process_from_ending(
    node: Worker, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, longer_than_the_test_waits_s = free_port(), 1.5 * DEADLINE_S
    monkeypatch.setattr(listener, "TLS_HANDSHAKE_S", longer_than_the_test_waits_s)
    chosen = dict.fromkeys(
        ("FOREBAY_LISTEN_HEAD_TIMEOUT_S", "FOREBAY_LISTEN_DRAIN_TIMEOUT_S"), longer_than_the_test_waits_s
    )
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.check_hostname = False
    with contextlib.ExitStack() as silent, listening(node, **chosen, **with_tls(certificates, tls)) as port:
        silent.enter_context(connected(port)).sendall(b"GET /")
        silent.enter_context(connected(tls))
        # Those that come later are served, so these are accepted.
        assert answers(port)
        with context.wrap_socket(connected(tls)):
            assert poll_until(lambda: held() == 1, DEADLINE_S)
        assert poll_until(lambda: held() == 0, DEADLINE_S)


def test_those_who_only_shake_hands_are_among_the_open_connections(node: Worker, certificates: Path) -> None:
    tls, before = free_port(), lost("tls", "too_many_connections")
    with listening(node, FOREBAY_LISTEN_CONNECTIONS=2, **with_tls(certificates, tls)) as port:
        with contextlib.ExitStack() as silent:
            for _ in range(4):
                silent.enter_context(connected(tls))
            assert poll_until(lambda: not answers(port), DEADLINE_S)
            silent.enter_context(connected(tls))
            assert poll_until(lambda: lost("tls", "too_many_connections") == before + 1, DEADLINE_S)

        assert poll_until(lambda: answers(port), DEADLINE_S)
