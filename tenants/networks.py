"""Control plane: the address allow-list of a key, in one canonical spelling. Pure, stateless."""

from collections.abc import Iterable
from ipaddress import ip_network


def canonical_networks(texts: Iterable[str]) -> list[str]:
    """CIDRs as `ipaddress` spells them, each once; a bare address is a network of one. Raises ValueError."""
    return list(dict.fromkeys(_canonical(str(text).strip()) for text in texts))


def _canonical(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        # Host bits are refused, not cut off: 10.0.0.5/8 is more often a typing error than a wish for all of 10/8.
        raise ValueError(f"{text[:50]!r} is no network such as 10.0.0.0/8 or 2001:db8::/32: {error}") from error
