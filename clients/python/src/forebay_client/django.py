"""Django middleware: everything logged during a request carries its correlation id. WSGI and ASGI.

    MIDDLEWARE = ["forebay_client.django.correlation_id_middleware", ...]
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"forebay": {"class": "forebay_client.ForebayHandler", "source": "shop"}},
        "root": {"handlers": ["forebay"], "level": "INFO"},
    }

with FOREBAY_URL and FOREBAY_KEY in the environment, or `url` and `key` beside `source`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Callable, Union

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from forebay_client.correlation import correlated, correlation_id_of

GetResponse = Callable[[HttpRequest], Union[HttpResponseBase, Awaitable[HttpResponseBase]]]

HEADER = "X-Correlation-ID"


@sync_and_async_middleware
def correlation_id_middleware(get_response: GetResponse) -> GetResponse:
    """Takes the id from X-Correlation-ID or traceparent, makes one where there is neither, and echoes it."""
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            chosen = _chosen(request)
            with correlated(chosen):
                response: HttpResponseBase = await get_response(request)
            response.headers.setdefault(HEADER, chosen)
            return response

        return middleware

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        chosen = _chosen(request)
        with correlated(chosen):
            response = get_response(request)
        assert isinstance(response, HttpResponseBase)  # noqa: S101 - a coroutine would have come the other way
        response.headers.setdefault(HEADER, chosen)
        return response

    return sync_middleware


def _chosen(request: HttpRequest) -> str:
    return correlation_id_of(request.headers.get(HEADER), request.headers.get("traceparent"))
