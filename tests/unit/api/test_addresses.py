"""Whose address counts: the peer's, unless proxies that are trusted say whom they forward for."""

import pytest

from ingest.api.addresses import client_address, is_within, networks

PROXIES = networks(["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", None, "198.51.100.7"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "203.0.113.9, 10.9.9.9", "203.0.113.9"),
        ("10.1.2.3", "203.0.113.9,10.9.9.9 , 192.0.2.1", "203.0.113.9"),
        ("10.1.2.3", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.1.2.3", "10.4.4.4, 10.9.9.9", "10.1.2.3"),
        ("10.1.2.3", ", ,", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.9, unknown", "unknown"),
        ("2001:db8::1", "2001:db9::5", "2001:db9::5"),
        ("::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_rightmost_hop_that_is_no_proxy_counts(peer: str, forwarded: str | None, address: str) -> None:
    meta = {"REMOTE_ADDR": peer} | ({} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded})

    assert client_address(meta, PROXIES) == address


def test_a_sender_cannot_choose_an_address_by_forwarding_for_it() -> None:
    meta = {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "127.0.0.1, 203.0.113.9"}

    assert client_address(meta, PROXIES) == "203.0.113.9"


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert client_address({"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, ()) == "10.1.2.3"


@pytest.mark.parametrize("meta", [{}, {"REMOTE_ADDR": ""}])
def test_a_peer_without_an_address_is_unknown(meta: dict[str, str]) -> None:
    assert client_address(meta, PROXIES) == "unknown"


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("::ffff:10.1.2.3", True),
        ("2001:db8:ffff::", True),
        ("2001:db9::", False),
        ("unknown", False),
        ("", False),
        ("10.1.2.3:80", False),
        ("x" * 10_000, False),
    ],
)
def test_an_address_is_in_a_range_by_its_number(address: str, inside: bool) -> None:
    assert is_within(address, PROXIES) is inside


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example", "10.0.0.0/33", ""])
def test_a_range_that_is_none_stops_the_process(text: str) -> None:
    with pytest.raises(ValueError, match=r"host bits|IPv4 or IPv6"):
        networks([text])
