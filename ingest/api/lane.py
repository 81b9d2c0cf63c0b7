"""The ingest lane: a table of paths in front of Django, and nothing else (ADR 0003).

HTTP side of the event path; request threads. The ingest routes need no session, database or template, so the WSGI
application looks their paths up here before Django's middleware, resolver and signals, and asks the very same views.
"""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from ingest.api import health
from ingest.api.answers import Respond
from ingest.api.dead_letters import DeadLettersView
from ingest.api.usage import UsageView
from ingest.api.views import BatchView, LogView

VIEWS = {
    "/api/logs": LogView,
    "/api/logs/batch": BatchView,
    "/api/usage": UsageView,
    "/api/dead-letters": DeadLettersView,
}
PROBES: dict[str, Respond] = {
    # Probes come with whatever Host a balancer sends, and their 503 is an answer, not an error to log.
    "/api/logs/health": health.health,
    "/health/live": health.live,
    "/health/ready": health.ready,
}
_ROUTES: dict[str, Respond] = {path: view().respond for path, view in VIEWS.items()} | PROBES
TABLE = _ROUTES | {f"{path}/": respond for path, respond in _ROUTES.items()}


class Lane:
    """The WSGI application: the routes of the table, and Django's handler for every other path."""

    def __init__(self, django: WSGIApplication) -> None:
        self._django = django

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        respond = TABLE.get(environ["PATH_INFO"])
        if respond is None:
            return self._django(environ, start_response)
        answer = respond(environ)
        start_response(answer.wsgi_status(), answer.wsgi_headers())
        # A list, for the server sends any other iterable piece by piece, as a chunked answer.
        return [answer.body]
