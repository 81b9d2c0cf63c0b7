"""What the console's own pages have in common: who may see them, and the frame around them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

View = Callable[..., HttpResponseBase]


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
