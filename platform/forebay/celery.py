"""The Celery application. Tasks live in each app's tasks.py; a message is a hint, the table is the truth."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forebay.settings")

app = Celery("forebay")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
