"""Syslog on a real node: over TCP, TLS and UDP, whose it is, and what is lost."""

import contextlib
import json
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.consumer import read_all
from tests.faults.accounts import samples_of
from tests.integration.conftest import SLOW_BURST, Platform
from tests.programs import poll_until


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
    sent, lost_before, dropped_before = 0, lost(platform, "udp"), lost(platform, "udp", "kernel")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", platform.ports["udp"]))
        # Until the little buffer of this node has overflown.
        while lost(platform, "udp", "kernel") == dropped_before:
            assert sent < 1_000_000
            for _ in range(2_000):
                sent += 1
                sender.send(b"<14>sys-udp: number %d" % sent)

    def stored() -> int:
        values = [json.loads(record.value) for record in read_all(platform.bootstrap, platform.topic)]
        return sum(value["source"] == "sys-udp" for value in values)

    assert poll_until(lambda: stored() + lost(platform, "udp") - lost_before == sent, 60)
    print(f"sent {sent}, stored {stored()}, lost and counted {lost(platform, 'udp') - lost_before}")
    assert stored() > 0
    assert poll_until(lambda: "syslog messages are lost" in platform.node.log.read_text(), 20)


def test_over_its_quota_a_tenant_is_not_read_over_tcp_and_loses_nothing(platform: Platform) -> None:
    # One window, which takes ten seconds at this rate.
    count, line = SLOW_BURST * 6, f'<14>1 - - sys-slow - - [forebay@1 key="{platform.keys["slow"]}"] '
    told_before, unread = waits(platform), [0]

    def is_left_unread() -> bool:
        unread.append(unread_bytes(platform.ports["token"], sender.getsockname()[1]))
        return len(set(unread[-10:])) == 1 and unread[-1] > 0

    with (
        socket.create_connection(("127.0.0.1", platform.ports["token"]), 30) as sender,
        ThreadPoolExecutor(1) as threads,
    ):
        sender.sendall("".join(f"{line}{number}\n" for number in range(count)).encode())
        assert poll_until(lambda: waits(platform) > told_before, 30)
        # Blanks are nobody's messages: if they stay in the kernel, then because nobody reads.
        rest = threads.submit(sender.sendall, b"\n" * 1_000_000 + f"{line}{count}\n".encode())
        assert poll_until(is_left_unread, 30)
        rest.result()
        stored = platform.values_of("sys-slow", count + 1)

    print(f"sent {count + 1}, stored {len(stored)}, left unread for a while {unread[-1]} bytes")
    assert sorted(int(value["message"]) for value in stored) == list(range(count + 1))
    assert lost(platform, "tcp", "quota_exceeded") == lost(platform, "tcp", "broken_off") == 0


def waits(platform: Platform) -> float:
    samples = samples_of(platform.node, "forebay_listen_waits")
    return sum(one.value for one in samples if one.name.endswith("_total") and one.labels["reason"] == "quota_exceeded")


def unread_bytes(local_port: int, remote_port: int) -> int:
    """What the kernel has of a connection and nobody has read (proc(5), net/tcp)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if local.endswith(f":{local_port:04X}") and remote.endswith(f":{remote_port:04X}"):
            return int(queues.partition(":")[2], 16)
    return 0


def test_over_its_quota_a_tenant_loses_over_udp_what_is_counted(platform: Platform) -> None:
    line = f'<14>1 - - sys-udp-slow - - [forebay@1 key="{platform.keys["slow"]}"] '
    sent, lost_before, refused_before = 0, lost(platform, "udp"), lost(platform, "udp", "quota_exceeded")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", platform.ports["udp"]))
        while lost(platform, "udp", "quota_exceeded") == refused_before:
            assert sent < 100_000
            for _ in range(100):
                sent += 1
                sender.send(f"{line}{sent}".encode())

    def stored() -> int:
        values = [json.loads(record.value) for record in read_all(platform.bootstrap, platform.topic)]
        return sum(value["source"] == "sys-udp-slow" for value in values)

    assert poll_until(lambda: stored() + lost(platform, "udp") - lost_before == sent, 60)
    refused = lost(platform, "udp", "quota_exceeded") - refused_before
    print(
        f"sent {sent}, stored {stored()}, lost {lost(platform, 'udp') - lost_before}, of these over the quota {refused}"
    )
    assert stored() > 0
