"""The Django project: settings, URLs, the WSGI application and the Celery application."""

VERSION = "0.1.0"
