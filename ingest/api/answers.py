"""An answer before it is anybody's: the lane hands it to the server, the views hand it to Django.

HTTP side; pure. Django's own request and response objects cost more than admission and quota together, so the lane does
without them.
"""

from collections.abc import Callable
from http.client import responses
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse

JSON = "application/json"
encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Status, body, its media type, and further headers."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def wsgi_headers(self) -> list[tuple[str, str]]:
        """All headers, for start_response."""
        length = str(len(self.body))
        return [("Content-Type", self.content_type), ("Content-Length", length), *self.headers]

    def wsgi_status(self) -> str:
        """Such as `202 Accepted`."""
        return f"{self.status} {responses[self.status]}"

    def response(self) -> HttpResponse:
        """The same for Django."""
        return HttpResponse(self.body, self.content_type, self.status, headers=dict(self.headers))


Respond = Callable[[dict[str, Any]], Answer]
"""From a WSGI environ to an answer; safe to call from any thread."""


def django_view(respond: Respond) -> Callable[[HttpRequest], HttpResponse]:
    """A view of Django for something that answers environs."""

    def view(request: HttpRequest) -> HttpResponse:
        return respond(request.META).response()

    return view
