"""The database away: each page of Django's that asks for it answers one static 503, beside it what the workers say.

Neither the database nor the session, a user or the console's frame is needed for it. Whoever is not logged in sees it
too, so it says numbers only.
"""

import logging
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.log import log_response
from django.views.defaults import server_error as static_server_error
from redis import RedisError

from ingest.breaker_store import standings
from ingest.console.live import MISSING_AFTER_S, Totals, totals_of
from ingest.dataplane.breaker import State
from ingest.heartbeats import workers
from ingest.shared_redis import shared_redis

RETRY_AFTER_S = 10
# What PostgreSQL answers when it cannot serve anybody: connections, resources, an operator's stop; the last is one
# statement's fate and not the server's.
_SERVER_CLASSES, _STATEMENT_CANCELLED = ("08", "53", "57"), "57014"

log = logging.getLogger(__name__)


class Health(NamedTuple):
    """What the workers say, in numbers."""

    totals: Totals
    missing: int
    breakers_moved: int
    cluster: State


class DatabaseAway:
    """Middleware: an error of the database's absence becomes the static page, and one line in the log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return away(request, error) if is_away(error) else None


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: for what another middleware met, which `process_exception` is not told of."""
    error = sys.exc_info()[1]
    return away(request, error) if error and is_away(error) else static_server_error(request)


def is_away(error: BaseException) -> bool:
    """Whether the database cannot be had, and not only this statement."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR  # no such table and the like
    sqlstate = getattr(cause, "sqlstate", None)
    return not sqlstate or (sqlstate[:2] in _SERVER_CLASSES and sqlstate != _STATEMENT_CANCELLED)


def away(request: HttpRequest, error: BaseException) -> HttpResponse:
    """The static page."""
    page = render_to_string("console/away.html", {"health": _health(time.time()), "retry_after_s": RETRY_AFTER_S})
    response = HttpResponse(page, status=503, headers={"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"})
    line = str(error).strip().partition("\n")[0]
    log_response("%s: the database is away: %s", request.path, line, response=response, request=request, logger=log)
    return response


def _health(wall_s: float) -> Health | None:
    """None: Redis is away too."""
    try:
        with shared_redis() as client:
            known = workers(client)
            breakers = standings(client)
    except RedisError:
        return None
    heard = [one for one in known if wall_s - one.seen_wall_s <= MISSING_AFTER_S]
    return Health(
        totals_of(heard),
        len(known) - len(heard),
        sum(breaker.state is not State.CLOSED for breaker in breakers),
        next((breaker.state for breaker in breakers if not breaker.topic), State.CLOSED),
    )
