"""The events that are sent: a shop's logs of a wanted size, the same in every run. Pure."""

import json
import random
from typing import Final
from uuid import UUID

SOURCES: Final = ("payment-service", "auth-service", "cart-service", "search-service")
LEVELS: Final = ("INFO", "INFO", "INFO", "WARN", "ERROR")
WORDS: Final = ("order", "gateway", "retry", "timeout", "customer", "basket", "queue", "worker", "payment", "cache")
# Stands where an open-loop client writes the moment at which an event was due, in ns since the epoch.
DUE: Final = b"0000000000000000000"
NEVER_DUE: Final = b"0"


def events(count: int, event_bytes: int, seed: int = 1, *, due: bool = False) -> list[bytes]:
    """`count` events as JSON objects of about `event_bytes`; the same seed gives the same events.

    `due` leaves a place in each for the moment at which it was due.
    """
    chooser = random.Random(seed)
    return [_event(chooser, event_bytes, DUE.decode() if due else _correlation(chooser)) for _ in range(count)]


def batch(members: list[bytes]) -> bytes:
    """A JSON array."""
    return b"[" + b",".join(members) + b"]"


def bodies(count: int, events_each: int, event_bytes: int) -> list[bytes]:
    """Request bodies that differ: one body sent again and again would flatter every codec."""
    if events_each == 1:
        return events(count, event_bytes)
    return [batch(events(events_each, event_bytes, seed)) for seed in range(count)]


def _event(chooser: random.Random, event_bytes: int, correlation: str) -> bytes:
    order, took_ms = chooser.randrange(10**6), chooser.randint(1, 99)
    event = {
        "source": chooser.choice(SOURCES),
        "level": chooser.choice(LEVELS),
        "message": f"Payment processed for order {order} in {took_ms} ms by gateway eu-west-1",
        "correlationId": correlation,
        "metadata": {"order": str(order), "amount": f"{chooser.random() * 100:.2f}", "currency": "EUR"},
    }
    missing_bytes = event_bytes - len(json.dumps(event))
    if missing_bytes > 0:
        event["message"] = f"{event['message']} {_text(chooser, missing_bytes - 1)}"
    return json.dumps(event).encode()


def _correlation(chooser: random.Random) -> str:
    return str(UUID(int=chooser.getrandbits(128), version=4))


def _text(chooser: random.Random, size_bytes: int) -> str:
    """Words and numbers, so that it compresses as a log does."""
    parts: list[str] = []
    length = 0
    while length < size_bytes:
        parts.append(f"{chooser.choice(WORDS)}={chooser.randrange(10**5)}")
        length += len(parts[-1]) + 1
    return " ".join(parts)[:size_bytes]
