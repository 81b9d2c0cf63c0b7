"""How a route of the lane asks the database: by few threads at a time, and with an answer when it is away.

HTTP side; request threads, never on the way of an event. A database that hangs would otherwise keep every thread of the
worker that a tenant sends reading requests to, and with them the threads that take events in.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import Error, close_old_connections

from ingest.dataplane.errors import Unavailable

T = TypeVar("T")

READERS = 4
# Long enough for a reader before us to finish a page, short enough not to pile up threads.
WAIT_S = 1.0
_places = threading.BoundedSemaphore(READERS)


def from_database(read: Callable[[], T], *, code: str, detail: str, wait_s: float = WAIT_S) -> T:
    """What `read` returns. Raises Unavailable with `code` when the database is away, or READERS others wait for it."""
    if not _places.acquire(timeout=wait_s):
        raise Unavailable(code, f"{detail}: too many ask at a time")
    try:
        return read()
    except Error:
        raise Unavailable(code, f"{detail}: the database is away") from None
    finally:
        # The lane comes here without Django's signals, which would do this.
        close_old_connections()
        _places.release()
