"""A Celery application as a user would write it: a broker, a task that logs, and the client's two lines."""

import logging
import os
import time

from celery import Celery

import forebay_client.celery
from forebay_client import ForebayHandler

app = Celery("shop", broker=os.environ["BROKER_URL"])
forebay_client.celery.connect(ForebayHandler(source="worker", linger_s=60.0, exit_timeout_s=30.0))
log = logging.getLogger("shop.orders")


@app.task(name="charge")  # type: ignore[untyped-decorator]  # Celery ships no types
def charge(order: int) -> None:
    """Nothing leaves before the worker's end: events linger for a minute."""
    time.sleep(0.1)  # so that the other child takes the next one
    log.warning("charged %d in %d", order, os.getpid())
