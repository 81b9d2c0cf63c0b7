"""The Celery application. Tasks live in each app's tasks.py; a message is a hint, the table is the truth."""

import os
from functools import cached_property
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forebay.settings")


class Forebay(Celery):  # type: ignore[misc]  # Celery has no types
    """Celery with a beat that ends when it is told to."""

    @cached_property
    def Beat(self) -> Any:
        """What `celery beat` asks for; imported then, because only one process of a platform is a beat."""
        return self.subclass_with_self("forebay.beat:Beat")


app = Forebay("forebay")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
