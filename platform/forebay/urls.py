"""Every URL. The ingest routes are here for Django's handler, the test client and OpenAPI; the lane answers first."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import include, path
from django_prometheus.exports import ExportToDjangoView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from ingest.api import lane
from ingest.api.answers import django_view


def home(request: HttpRequest) -> HttpResponse:
    """Where a person lands who opens the address in a browser."""
    return redirect("admin:index")


handler500 = "ingest.console.away.server_error"
urlpatterns = [
    path("", home),
    *(path(route.lstrip("/"), view.as_view()) for route, view in lane.VIEWS.items()),
    *(path(f"{route.lstrip('/')}/", view.as_view(schema=None)) for route, view in lane.VIEWS.items()),
    *(path(route.lstrip("/"), django_view(respond)) for route, respond in lane.PROBES.items()),
    path("metrics", ExportToDjangoView),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    # Its script is a response of its own: the policy forbids one in the page.
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("admin/", include("ingest.console.urls")),
    path("admin/", admin.site.urls),
]
