"""Checks the books again and again: while traffic goes on, only what stays wrong is wrong.

Control plane; the check task and `manage.py ledger_check`. The accounts, the journals' own counts and the table of dead
letters are not read in one moment, so under load they differ by what is on its way, each time by another number and in
either direction. What stays the same, or on one side for minutes, is not on its way.
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
# So many checks on one side are no accident, whatever the amounts: a mismatch that grows is never the same twice.
CHECKS_ON_ONE_SIDE = 20
PAUSE_S = 1.1

History = dict[str, list[int]]
"""Amounts by subject, newest last."""


def ledger_check(client: redis.Redis) -> CheckResult:
    """Copy, check, and leave the result in Redis for alerts and metrics. Raises RedisError and DatabaseError."""
    copy_all(client)
    text = cast(bytes | None, client.get(CHECK))
    found, missing = books.mismatches(), books.missing_journals()
    history = continued(decode_check(text).suspicions if text else {}, found)
    real = what_stays(history, found)
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
    """Look until a look finds nothing, or `wait_s` is over; then what was wrong to the end."""
    history: History = {}
    give_up_s = time.monotonic() + wait_s
    for looks in count(1):
        found = look()
        history = continued(history, found)
        if not found:
            return []
        if time.monotonic() >= give_up_s and looks >= CHECKS_IN_A_ROW:
            break
        pause(PAUSE_S)
    return what_stays(history, found)


def continued(history: History, found: Iterable[Mismatch]) -> History:
    """One check later. What was not found this time begins anew."""
    return {one.subject: [*history.get(one.subject, []), one.events][-CHECKS_ON_ONE_SIDE:] for one in found}


def what_stays(history: History, found: Iterable[Mismatch]) -> list[Mismatch]:
    """Of what the newest check of a history has found, what is not on its way; by the amount that is sure."""
    judged = (_judged(one, history[one.subject]) for one in found)
    return [one for one in judged if one]


def _judged(one: Mismatch, amounts: list[int]) -> Mismatch | None:
    recent = amounts[-CHECKS_IN_A_ROW:]
    if len(recent) == CHECKS_IN_A_ROW and (one.is_of_one_row or len(set(recent)) == 1):
        return one
    if len(amounts) == CHECKS_ON_ONE_SIDE and (min(amounts) > 0 or max(amounts) < 0):
        smallest = min(amounts, key=abs)
        text = f"{one.text} (by at least {abs(smallest)} in each of the last {CHECKS_ON_ONE_SIDE} checks)"
        return one._replace(events=smallest, text=text)
    return None
