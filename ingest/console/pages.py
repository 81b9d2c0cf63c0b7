"""What the console's own pages have in common: who may see them, and the frame around them."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

View = Callable[..., HttpResponseBase]

# Any 64-bit number has as many; PostgreSQL refuses larger ones, and Python does not even read very long ones.
_DIGITS_MOST = 18


def console_page(permission: str) -> Callable[[View], View]:
    """A page for people who are logged in and have this permission: everybody else gets the login, or a 403."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return admin.site.admin_view(guarded)

    return decorate


def render(request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    """A whole page in the console's frame. For a part that htmx swaps in, use django.shortcuts.render."""
    return TemplateResponse(request, template, {**admin.site.each_context(request), "title": title, **context})


def number_of(text: str) -> int | None:
    """A number that somebody sent, such as a row's; None for anything that no row can have."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MOST else None


def numbers_of(texts: Iterable[str]) -> list[int]:
    """Those of the texts that are numbers."""
    return [number for text in texts if (number := number_of(text)) is not None]
