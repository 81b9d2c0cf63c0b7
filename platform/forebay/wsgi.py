"""The WSGI application of the web workers: the ingest lane in front of Django."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forebay.settings")
_django = get_wsgi_application()

from ingest.api.lane import Lane  # noqa: E402  # models must be loaded before the views that the lane holds

application = Lane(_django)
