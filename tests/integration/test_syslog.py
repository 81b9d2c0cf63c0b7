"""Syslog on a real node: over TCP, TLS and UDP, whose it is, and what is lost."""

import contextlib
import json
import socket
import ssl

from tests.consumer import read_all
from tests.faults.accounts import samples_of
from tests.integration.conftest import Platform
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
