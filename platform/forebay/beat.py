"""Celery's beat with another handler of SIGTERM and SIGINT, so that it ends whenever it is told to."""

import signal
from types import FrameType
from typing import NoReturn

from celery.apps import beat


class Beat(beat.Beat):  # type: ignore[misc]  # Celery has no types
    """What `celery -A forebay.celery beat` runs."""

    def install_sync_handler(self, service: beat.beat.Service) -> None:
        """Leaves the database to `Service.start`, which writes the schedule on its way out.

        Celery's own handler writes it, in the middle of whatever it interrupted. If that is a query, both may fail:
        the error takes the place of SystemExit, is logged as one of an entry, and beat lives on.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit
