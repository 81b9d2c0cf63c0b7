"""The yardstick of a request: a Django project with one empty view and no middleware, for the same server to run.

Own processes; any thread of theirs. Whatever a request costs here is Django's and the server's, not ours.
"""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from forebay.one_cpu import LOOK_INTERVAL_S, OneCpu
from ingest.chores import Chore, Chores

settings.configure(
    DEBUG=False,
    SECRET_KEY="guards nothing",  # noqa: S106  # there is nothing to guard
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
)


def null(request: HttpRequest) -> HttpResponse:
    """Nothing is read, nothing is checked."""
    return HttpResponse(b"{}", content_type="application/json", status=202)


urlpatterns = [path("null", null)]
application = get_wsgi_application()
# On one CPU like a worker of ours, or the comparison would be of that.
Chores([Chore(LOOK_INTERVAL_S, OneCpu().look)]).start()
