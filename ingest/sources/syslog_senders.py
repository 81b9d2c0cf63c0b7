"""Whose a syslog message is: its own structured data says so, else the sender's certificate, else the port.

Sources; the loop's thread. A window of messages becomes one window for each tenant that has something in it.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from ingest.api.admission import authenticate, authorise
from ingest.dataplane.callers import Caller
from ingest.dataplane.errors import Forbidden, Refused, Unauthenticated, Unavailable
from ingest.dataplane.event import Decoded, EventLimits, LogEvent
from ingest.dataplane.pipeline import Arrival
from ingest.protocols.syslog import parse
from ingest.sources.taking import Taken, Window, offer_all
from ingest.worker import Worker

log = logging.getLogger(__name__)

DIALECT: Final = "syslog"


class Received(NamedTuple):
    """A message and where it came from."""

    message: bytes
    address: str


class Port(NamedTuple):
    """Where syslog arrives; `tenant` is empty where the messages or certificates must say whose they are."""

    number: int
    tenant: str


def ports(texts: Iterable[str]) -> list[Port]:
    """From a setting. Raises ImproperlyConfigured."""
    found = []
    for text in texts:
        number, _, tenant = text.partition("=")
        if not number.isascii() or not number.isdigit() or not 0 < int(number) < 65_536:
            raise ImproperlyConfigured(f"{text!r} is neither a port nor port=tenant")
        found.append(Port(int(number), tenant))
    return found


def certificate_tenants(texts: Iterable[str]) -> dict[str, str]:
    """Names in certificates to tenants, from a setting. Raises ImproperlyConfigured."""
    found = {}
    for text in texts:
        name, _, tenant = text.rpartition("=")
        if not name or not tenant:
            raise ImproperlyConfigured(f"{text!r} is not name=tenant")
        found[name] = tenant
    return found


def certificate_names(certificate: Mapping[str, Any]) -> list[str]:
    """The names that a verified certificate has, as ssl's getpeercert() tells it: DNS names, then common names."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    return names + [value for kind, value in subject if kind == "commonName"]


class Owned(NamedTuple):
    """Messages of one caller, and how to ask anew who that is."""

    window: Window
    arrival: Callable[[], Arrival]


class Senders:
    """Sorts messages by whose they are. `lost` hears of those that are nobody's, by reason; `waits` is Arrival's."""

    def __init__(self, node: Worker, limits: EventLimits, lost: Callable[[str, int], None], *, waits: bool) -> None:
        self._node = node
        self._limits = limits
        self._lost = lost
        self._waits = waits

    def sort(self, received: Sequence[Received], tenant: str) -> list[Owned]:
        """Windows by caller, each in the order of arrival. `tenant` has what does not say otherwise."""
        now_wall_ms = time.time_ns() // 1_000_000
        refusal_of = cache(partial(self._refusal, tenant))
        lost: Counter[str] = Counter()
        owned: dict[str | None, list[tuple[Received, LogEvent]]] = {}
        for one in received:
            try:
                event, key = parse(one.message, now_wall_ms, self._limits)
                refusal = refusal_of(key, one.address)
            except Exception:  # a defect of ours costs the message that meets it, and no other
                if not lost["internal_error"]:
                    log.exception("a syslog message failed")
                refusal = "internal_error"
            if refusal:
                lost[refusal] += 1
            else:
                event.hostname = event.hostname or one.address
                owned.setdefault(key, []).append((one, event))
        for reason, messages in lost.items():
            self._lost(reason, messages)
        return [self._owned(key, tenant, messages) for key, messages in owned.items()]

    async def offer(self, owned: Owned) -> None:
        """Once, for whoever cannot wait: what is refused now is lost."""
        taken = Taken()
        try:
            await offer_all(self._node, owned.window, owned.arrival(), taken)
        except Refused as refused:
            self._lost(refused.code, len(owned.window.documents) - taken.events)
        except Exception:
            log.exception("a window of syslog failed")
            self._lost("internal_error", len(owned.window.documents) - taken.events)

    def _owned(self, key: str | None, tenant: str, messages: list[tuple[Received, LogEvent]]) -> Owned:
        events = [event for _, event in messages]
        address = messages[0][0].address

        def decode(documents: Sequence[bytes], first: int) -> Decoded:
            return Decoded(events[first : first + len(documents)], range(len(documents)), {})

        window = Window([one.message for one, _ in messages], 0, decode)
        return Owned(window, lambda: self._arrival(key, tenant, address))

    def _refusal(self, tenant: str, key: str | None, address: str) -> str:
        """Why nobody may be charged for it; empty where somebody is, or where that cannot be told yet."""
        try:
            self._caller(key, address, tenant)
        except Unavailable:
            return ""
        except Refused as refused:
            return refused.code
        return ""

    def _caller(self, key: str | None, address: str, tenant: str) -> Caller:
        if key is not None:
            caller: Caller | None = authenticate(key, self._node)
        elif tenant:
            caller = self._node.callers.of_tenant(tenant)
        else:
            raise Unauthenticated("missing_key", "Neither the message, a certificate nor the port says whose it is")
        if caller is None:
            raise Forbidden("unknown_tenant", f"There is no tenant {tenant}")
        authorise(caller, "ingest", address)
        return caller

    def _arrival(self, key: str | None, tenant: str, address: str) -> Arrival:
        node, caller = self._node, self._caller(key, address, tenant)
        if key is not None:
            node.key_uses[caller.key.key_id] = time.time()
        correlation_id, allowance = f"{random.getrandbits(128):032x}", node.allowance(caller)
        return Arrival(caller, allowance, node.topics, DIALECT, address, correlation_id, "", waits=self._waits)
