"""librdkafka's own log lines, thinned: while a broker is away it tells of each attempt to connect, twenty a second.

Data plane; called on whichever thread polls the client. What it says still comes, once in ten seconds and kind.
"""

import logging
import time
from collections.abc import Callable

QUIET_S = 10.0


class Thinned(logging.Filter):
    """Lets one line of a kind (librdkafka's facility, such as FAIL, and the level) through in `QUIET_S`."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._quiet_until_s: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = (record.getMessage().partition(" ")[0], record.levelno)
        now_s = self._now_s()
        if now_s < self._quiet_until_s.get(kind, float("-inf")):
            return False
        self._quiet_until_s[kind] = now_s + QUIET_S
        return True


def thinned_logger(name: str) -> logging.Logger:
    """What to give a client as its `logger`."""
    logger = logging.getLogger(f"{name}.librdkafka")
    if not any(isinstance(one, Thinned) for one in logger.filters):
        logger.addFilter(Thinned())
    return logger
