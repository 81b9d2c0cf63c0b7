"""What is lost is counted each time, and said at once and then once a minute; the kernel's own count is read."""

import logging
import os
import socket

import pytest

from ingest.sources.syslog_losses import SAY_EVERY_S, Losses
from ingest.sources.syslog_udp import kernel_drops


def test_losses_are_said_at_once_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now_s = 100.0
    losses = Losses(lambda: now_s)
    with caplog.at_level(logging.WARNING):
        losses.add("udp", "kernel", 3)
        losses.add("udp", "kernel", 4)
        losses.add("tcp", "missing_key", 1)
        losses.add("tcp", "missing_key", 0)
        now_s += SAY_EVERY_S
        losses.say()
        losses.say()

    assert [record.getMessage() for record in caplog.records] == [
        "syslog messages are lost: 3 over udp (kernel)",
        "syslog messages are lost: 1 over tcp (missing_key), 4 over udp (kernel)",
    ]


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_kernel_counts_what_its_buffer_has_no_room_for(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_304)
        receiver.bind((host, 0))
        receiver.setblocking(False)
        for _ in range(100):
            sender.sendto(b"x" * 500, receiver.getsockname())
        received = 0
        try:
            while receiver.recv(1_000):
                received += 1
        except BlockingIOError:
            pass

        assert received + kernel_drops(os.fstat(receiver.fileno()).st_ino) == 100
        assert received < 100
