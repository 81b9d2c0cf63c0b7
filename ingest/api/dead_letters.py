"""`GET /api/dead-letters`: the tenant's own events that Kafka would not take, newest first, a page at a time.

HTTP side; request threads, off the event path: it asks the database, which no request that brings events does. What
operators wrote and who they are is not in it.
"""

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ingest.api.addresses import client_address
from ingest.api.admission import admit
from ingest.api.answers import Answer, encode
from ingest.api.database_reads import from_database
from ingest.api.schema import DEAD_LETTERS
from ingest.api.views import Environ, LaneView
from ingest.dataplane.errors import BadRequest, MethodNotAllowed
from ingest.dead_letters.selection import LetterCriteria, event_facts, letters_select, place_facts
from ingest.models import DeadLetter, LetterStatus
from ingest.worker import worker

PAGE_LETTERS, PAGE_LETTERS_MAX = 50, 200
# A page ends early where its events are large; the cursor goes on from there.
PAGE_BYTES = 4 << 20


class PageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What the query string may say. `cursor` is what the page before gave as `nextCursor`."""

    limit: int = PAGE_LETTERS
    cursor: int | None = None
    status: str = ""


class DeadLettersView(LaneView):
    """The tenant's own failures."""

    route = "dead_letters"
    http_methods = ("GET",)

    def _respond(self, environ: Environ, correlation: str) -> Answer:
        if environ["REQUEST_METHOD"] != "GET":
            raise MethodNotAllowed("method_not_allowed", "This address takes GET", allowed=self.http_methods)
        node = worker()
        caller = admit(environ, node, "read", client_address(environ, node.trusted_proxies))
        query = parse_query(environ["QUERY_STRING"])
        page = from_database(
            lambda: dead_letters_page(caller.tenant.name, query),
            code="dead_letters_unavailable",
            detail="Dead letters cannot be read now, events are accepted as ever",
        )
        return Answer(200, encode(page))

    @DEAD_LETTERS
    def get(self, request: HttpRequest) -> HttpResponseBase:
        """Your own events that could not be delivered, newest first; needs the scope `read`."""
        return self.dispatch(request)


def parse_query(text: str) -> PageQuery:
    """Raises BadRequest for a name or a value that is none."""
    try:
        query = msgspec.convert(dict(parse_qsl(text, keep_blank_values=True)), PageQuery, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest("invalid_query", str(error)) from None
    if not 1 <= query.limit <= PAGE_LETTERS_MAX:
        raise BadRequest("invalid_query", f"limit is 1 to {PAGE_LETTERS_MAX}")
    if query.status and query.status not in LetterStatus.values:
        raise BadRequest("invalid_query", f"status is one of {', '.join(LetterStatus.values)}")
    return query


def dead_letters_page(tenant: str, query: PageQuery) -> dict[str, Any]:
    """One page as the tenant sees it. Raises django.db.Error."""
    letters = letters_select(criteria=LetterCriteria(tenant=tenant, status=query.status))
    if query.cursor is not None:
        letters = letters.filter(pk__lt=query.cursor)
    rows = list(letters.values_list("pk", "size_bytes")[: query.limit + 1])
    shown = _within_bytes(rows[: query.limit])
    found = [_facts(letter) for letter in letters.filter(pk__in=shown)]
    next_cursor = str(shown[-1]) if len(shown) < len(rows) else None
    return {"deadLetters": found, "nextCursor": next_cursor}


def _within_bytes(rows: list[tuple[int, int]]) -> list[int]:
    shown: list[int] = []
    total_bytes = 0
    for pk, size_bytes in rows:
        total_bytes += size_bytes
        if shown and total_bytes > PAGE_BYTES:
            break
        shown.append(pk)
    return shown


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return {
        "eventId": letter.event_id,
        "status": letter.status,
        "fault": letter.fault,
        "code": letter.code,
        "detail": letter.detail,
        "topic": letter.topic,
        "acceptedAt": letter.accepted_at,
        "deadAt": letter.dead_at,
        "attempts": letter.attempts_made,
        "possibleCopies": letter.unconfirmed,
        "nextAttemptAt": letter.next_attempt_at,
        "endedAt": letter.ended_at,
        "replayed": place_facts(letter),
        "edited": letter.original_value is not None,
        **event_facts(letter),
    }
