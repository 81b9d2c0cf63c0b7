"""Both planes: the text of an API key and its digest. Pure, stateless, safe from every thread; no Django, no database.

A key is `fb_<8 of prefix>_<43 of secret>`: the prefix names it in consoles and logs, the secret is 256 random bits.
Only the SHA-256 of the whole text is ever stored. A fast hash is right here: nobody can guess 256 bits, while a slow
one would let anybody burn our CPU with invented keys.
"""

import hashlib
import hmac
import re
import secrets
import string
from typing import NamedTuple

LAST_USED_HASH = "forebay:key_last_used"
"""The Redis hash in which workers leave key id -> wall seconds, and from which a Celery task takes them."""

_PREFIX_ALPHABET = string.ascii_lowercase + string.digits
_SHAPE = re.compile(r"fb_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")


class MalformedKey(ValueError):
    """The text cannot be a key of ours. The message never repeats the text: it may be somebody's secret."""


class IssuedKey(NamedTuple):
    secret: str
    prefix: str
    digest: bytes


def new_prefix() -> str:
    """8 random characters."""
    return "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(8))


def issue(prefix: str = "") -> IssuedKey:
    """A new key; its secret exists nowhere else, so whoever calls this shows it once and forgets it."""
    prefix = prefix or new_prefix()
    secret = f"fb_{prefix}_{secrets.token_urlsafe(32)}"
    return IssuedKey(secret, prefix, digest(secret))


def parse(text: str) -> bytes:
    """The digest to look a key up by. Raises MalformedKey at the price of one short match, whatever the length is."""
    if _SHAPE.fullmatch(text) is None:
        raise MalformedKey("not an API key: expected fb_, 8 characters, _ and 43 characters")
    return digest(text)


def digest(text: str) -> bytes:
    """The 32 bytes of SHA-256 that stand for a key's text."""
    return hashlib.sha256(text.encode()).digest()


def matches(stored: bytes, given: bytes) -> bool:
    """Whether two digests are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(stored, given)


def prefix_of(text: str) -> str:
    """The prefix meant by a person who gives it bare, with `fb_`, or pastes the whole key."""
    whole_key = _SHAPE.fullmatch(text)
    return whole_key[1] if whole_key else text.removeprefix("fb_")
