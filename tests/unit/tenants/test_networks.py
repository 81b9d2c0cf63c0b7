"""The allow-list of a key."""

import pytest

from tenants.networks import canonical_networks


def test_networks_are_kept_in_one_spelling_and_once() -> None:
    networks = canonical_networks([" 10.0.0.0/255.0.0.0", "10.0.0.0/8", "192.0.2.7", "2001:DB8:0::/32"])

    assert networks == ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]


@pytest.mark.parametrize("text", ["10.0.0.5/8", "10.0.0.0/33", "example.org", "", "10.0.0"])
def test_what_is_no_network_is_named_in_the_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no network") as refusal:
        canonical_networks(["10.0.0.0/8", text])

    assert repr(text) in str(refusal.value)
