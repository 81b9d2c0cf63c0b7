"""Tickets for the live tail: what the console's page shows instead of a key, for a browser's EventSource sends none.

The console signs one for a person who may see the tenant; the listen process, which has the same secret key, believes
it. A ticket reads one tenant's tail and nothing else, and not for long: a person's rights may change.
"""

import time
from typing import Final, NamedTuple

from django.core import signing

from ingest.dataplane.errors import Unauthenticated

TICKET_S: Final = 600.0
_SALT: Final = "forebay.tail"


class Ticket(NamedTuple):
    """Whose tail may be read, and until when."""

    tenant: str
    ends_wall_s: float


def issue_ticket(tenant: str) -> str:
    """Its text, fit for an address."""
    return signing.dumps((tenant, time.time() + TICKET_S), salt=_SALT)


def read_ticket(text: str) -> Ticket:
    """Raises Unauthenticated for what this platform did not sign, and for what is over."""
    try:
        ticket = Ticket(*signing.loads(text, salt=_SALT))
    except signing.BadSignature:
        raise Unauthenticated("malformed_ticket", "This platform has not signed this ticket") from None
    if ticket.ends_wall_s <= time.time():
        raise Unauthenticated("expired_ticket", "This ticket is over; ask the console for another")
    return ticket
