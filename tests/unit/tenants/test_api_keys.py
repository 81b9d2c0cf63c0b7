"""The text of a key: what it holds, what passes for one, and what is kept of it."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants import api_keys
from tenants.api_keys import MalformedKey

GOOD = f"fb_ab12cd34_{'x' * 43}"


def test_a_key_is_its_prefix_and_256_random_bits() -> None:
    key = api_keys.issue()

    fb, prefix, random_text = key.secret.split("_", 2)
    assert (fb, prefix) == ("fb", key.prefix)
    assert len(key.secret) == 55
    assert len(base64.urlsafe_b64decode(random_text + "=")) == 32


def test_no_bit_of_the_secret_is_fixed() -> None:
    secrets = [api_keys.issue().secret.split("_", 2)[2] for _ in range(300)]

    numbers = [int.from_bytes(base64.urlsafe_b64decode(secret + "=")) for secret in secrets]
    seen_one, seen_zero = 0, 0
    for number in numbers:
        seen_one |= number
        seen_zero |= ~number & ((1 << 256) - 1)
    assert len(set(numbers)) == 300
    assert seen_one == seen_zero == (1 << 256) - 1


def test_the_prefix_tells_nothing_of_the_secret_and_differs_from_key_to_key() -> None:
    keys = [api_keys.issue() for _ in range(300)]

    assert len({key.prefix for key in keys}) == 300
    assert not any(key.prefix in key.secret[12:] for key in keys)


def test_the_digest_is_the_sha_256_of_the_whole_text() -> None:
    key = api_keys.issue()

    assert key.digest == hashlib.sha256(key.secret.encode()).digest()
    assert api_keys.parse(key.secret) == key.digest


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("fb_", id="nothing after fb_"),
        pytest.param(GOOD[:-1], id="one short"),
        pytest.param(GOOD + "x", id="one long"),
        pytest.param(GOOD * 20_000, id="a megabyte"),
        pytest.param("FB" + GOOD[2:], id="upper-case fb"),
        pytest.param("fb_AB12CD34_" + "x" * 43, id="upper-case prefix"),
        pytest.param("fb-ab12cd34-" + "x" * 43, id="dashes"),
        pytest.param(GOOD[:-1] + "é", id="a letter beyond ASCII"),
        pytest.param("fb_ab12cd3\u0664_" + "x" * 43, id="a digit beyond ASCII"),
        pytest.param(GOOD[:-1] + "\ud800", id="a lone surrogate"),
        pytest.param(GOOD[:-1] + "\x00", id="a null"),
        pytest.param(GOOD + "\n", id="a line end behind it"),
        pytest.param(" " + GOOD, id="a blank before it"),
        pytest.param("Bearer " + GOOD, id="the header's word with it"),
        pytest.param(GOOD[:-1] + "=", id="padded"),
    ],
)
def test_a_text_of_another_shape_is_malformed_and_is_not_repeated(text: str) -> None:
    with pytest.raises(MalformedKey) as refusal:
        api_keys.parse(text)

    assert len(text) < 4 or text not in str(refusal.value)


@given(st.text(st.characters()))
def test_no_text_brings_any_other_error(text: str) -> None:
    with pytest.raises(MalformedKey):
        api_keys.parse(text)


def test_digests_match_only_when_all_of_them_is_equal() -> None:
    stored = api_keys.digest(GOOD)

    assert api_keys.matches(stored, api_keys.parse(GOOD))
    assert not api_keys.matches(stored, stored[:-1] + bytes([stored[-1] ^ 1]))
    assert not api_keys.matches(stored, stored[:-1])


@pytest.mark.parametrize("text", ["ab12cd34", "fb_ab12cd34", GOOD])
def test_a_person_may_name_a_key_by_any_form_of_its_prefix(text: str) -> None:
    assert api_keys.prefix_of(text) == "ab12cd34"
