"""Checks the books again and again: while traffic goes on, only what stays wrong by the same amount is wrong.

Control plane; the check task and `manage.py ledger_check`. The accounts, the journals' own counts and the table of dead
letters are not read in one moment, so under load they differ by what is on its way, each time by another number.
"""

import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import cast

import redis

from ingest.ledger import books
from ingest.ledger.accounts import CHECK, CheckResult, decode_check, encode_check
from ingest.ledger.books import Mismatch
from ingest.ledger.copying import copy_all

CHECKS_IN_A_ROW = 3
PAUSE_S = 1.1

History = dict[str, list[int]]
"""Amounts by subject, newest last."""


def ledger_check(client: redis.Redis) -> CheckResult:
    """Copy, check, and leave the result in Redis for alerts and metrics. Raises RedisError and DatabaseError."""
    copy_all(client)
    text = cast(bytes | None, client.get(CHECK))
    found, missing = books.mismatches(), books.missing_journals()
    history = _continued(decode_check(text).suspicions if text else {}, found)
    real = [one for one in found if _is_real(history[one.subject])]
    result = CheckResult(
        time.time(),
        [one.text for one in real],
        sum(abs(one.events) for one in real if not one.is_missing_worker),
        sum(one.pending_events for one in missing),
        history,
    )
    client.set(CHECK, encode_check(result))
    return result


def settled_mismatches(
    look: Callable[[], list[Mismatch]], wait_s: float, *, pause: Callable[[float], object] = time.sleep
) -> list[Mismatch]:
    """Look until a look finds nothing, or `wait_s` is over; then what was wrong by the same amount to the end."""
    history: History = {}
    give_up_s = time.monotonic() + wait_s
    for looks in count(1):
        found = look()
        history = _continued(history, found)
        if not found:
            return []
        if time.monotonic() >= give_up_s and looks >= CHECKS_IN_A_ROW:
            break
        pause(PAUSE_S)
    return [one for one in found if _is_real(history[one.subject])]


def _continued(history: History, found: Iterable[Mismatch]) -> History:
    return {one.subject: [*history.get(one.subject, []), one.events][-CHECKS_IN_A_ROW:] for one in found}


def _is_real(amounts: list[int]) -> bool:
    return len(amounts) == CHECKS_IN_A_ROW and len(set(amounts)) == 1
