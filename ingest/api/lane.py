"""The ingest lane: a table of paths in front of Django, and nothing else (ADR 0003).

HTTP side of the event path; request threads. The ingest routes need no session, database or template, so the WSGI
application looks their paths up here before Django's middleware, resolver and signals, and calls the very same views.
"""

from collections.abc import Callable, Iterable
from http.client import responses
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse

from ingest.api import health
from ingest.api.views import BatchView, LogView

ROUTES: dict[str, Callable[..., HttpResponse]] = {
    "/api/logs": LogView.as_view(),
    "/api/logs/batch": BatchView.as_view(),
    "/api/logs/health": health.health,
    # Probes come with whatever Host a balancer sends, and their 503 is an answer, not an error to log.
    "/health/live": health.live,
    "/health/ready": health.ready,
}
TABLE = ROUTES | {f"{path}/": view for path, view in ROUTES.items()}


class Lane:
    """The WSGI application: the views of the table, and Django's handler for every other path."""

    def __init__(self, django: WSGIApplication) -> None:
        self._django = django

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        view = TABLE.get(environ["PATH_INFO"])
        if view is None:
            return self._django(environ, start_response)
        response = view(WSGIRequest(environ))
        response.headers["Content-Length"] = str(len(response.content))
        start_response(f"{response.status_code} {responses[response.status_code]}", list(response.items()))
        # A list, for the server sends any other iterable piece by piece, as a chunked answer.
        return [response.content]
