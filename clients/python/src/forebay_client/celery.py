"""Celery: a task carries the correlation id of whoever sent it, and a worker's events leave before it ends.

    from forebay_client import ForebayHandler, celery
    celery.connect(ForebayHandler(source="worker"))

in the module of the Celery app. Each forked worker process sends by itself, as every forked child does.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from celery import signals

from forebay_client.correlation import correlation_id
from forebay_client.sender import close_all

HEADER = "forebay_correlation_id"
_BEFORE = "forebay_correlation_id_before"


def connect(handler: logging.Handler | None = None) -> None:
    """Connects Celery's signals; with a handler, the worker's loggers get it when Celery has set them up."""
    signals.before_task_publish.connect(_publish)
    signals.task_prerun.connect(_begin)
    signals.task_postrun.connect(_end)
    signals.worker_process_shutdown.connect(_flush)
    if handler is not None:

        def add(logger: logging.Logger, **_: Any) -> None:
            logger.addHandler(handler)

        signals.after_setup_logger.connect(add, weak=False)
        signals.after_setup_task_logger.connect(add, weak=False)


def _publish(headers: MutableMapping[str, Any] | None = None, **_: Any) -> None:
    current = correlation_id.get()
    if headers is not None and current is not None:
        headers.setdefault(HEADER, current)


def _begin(task_id: str, task: Any, **_: Any) -> None:
    """A task that was sent without an id has that of the first task of its chain. One that is called, not sent, keeps
    its caller's."""
    before = correlation_id.get()
    setattr(task.request, _BEFORE, before)
    correlation_id.set(task.request.get(HEADER) or before or task.request.root_id or task_id)


def _end(task: Any, **_: Any) -> None:
    correlation_id.set(getattr(task.request, _BEFORE, None))


def _flush(**_: Any) -> None:
    """Celery's forked processes end without exit functions."""
    close_all()
