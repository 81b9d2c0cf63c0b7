"""Syslog as its senders meet it, on one worker in this process: floods, defects, who waits, and what is counted."""

import asyncio
import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from forebay.local.ports import free_port
from ingest.dataplane.event import Decoded
from ingest.dataplane.segments import Record
from ingest.sources.syslog_senders import Received, Senders
from ingest.worker import Worker
from tests.contract.cast import BOLTS_EVENTS_A_DAY, KEYS
from tests.contract.test_streams import DEADLINE_S, listening
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


def waits() -> float:
    return REGISTRY.get_sample_value("forebay_listen_waits_total", {"reason": "quota_exceeded"}) or 0.0
