"""Whose address a request comes from, and whether it lies in a range.

HTTP side of the event path; pure, any thread.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ingest.dataplane.policy import Network


def client_address(meta: Mapping[str, Any], trusted_proxies: Sequence[Network]) -> str:
    """The peer's address, or behind trusted proxies the rightmost hop of X-Forwarded-For that is none of them."""
    peer: str = meta.get("REMOTE_ADDR") or "unknown"
    if not trusted_proxies or not is_within(peer, trusted_proxies):
        return peer
    for hop in reversed(meta.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        address: str = hop.strip()
        if address and not is_within(address, trusted_proxies):
            return address
    return peer


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Address ranges from settings; raises ValueError with the one that is none."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_within(address: str, allowed: Sequence[Network]) -> bool:
    """Whether an address, also an IPv4 one in IPv6's clothes, lies in one of the ranges."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in allowed)


@lru_cache(maxsize=4096)
def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed
