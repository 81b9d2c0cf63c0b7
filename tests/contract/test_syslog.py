"""Syslog as its senders meet it, on one worker in this process: floods, defects, who waits, and what is counted."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import REGISTRY

from forebay.local.ports import free_port
from ingest.dataplane.segments import Record
from ingest.worker import Worker
from tests.contract.cast import KEYS
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
