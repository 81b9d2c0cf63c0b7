"""The Celery application. Tasks live in each app's tasks.py; a task message is a hint, the table is the truth (ADR 0005)."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forebay.settings")

app = Celery("forebay")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
