"""How an acknowledged send goes, without the waiting: it says what to do next, and the clients do it, each in its way.

steps = acknowledged(events, timeout_s)
a step is a list of encoded events, to be posted and answered with steps.send(outcome), or a Pause; it returns results
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence
from typing import NamedTuple, Union

from forebay_client.backoff import Backoff
from forebay_client.results import Rejected, Result, Unacknowledged, result_of
from forebay_client.wire import Outcome

# What one request holds by the server's own limits, with room for a quota's burst.
_REQUEST_MAX_EVENTS = 1_000

# A socket that may wait for 0 s would not wait for its own connection.
_SHORTEST_S = 0.001

Encoded = tuple[str, bytes]


class Post(NamedTuple):
    """Send these, and wait for the answer so long at most."""

    events: list[bytes]
    within_s: float


class Pause(NamedTuple):
    """Wait so long before the next step."""

    wait_s: float


Step = Union[Post, Pause]


def acknowledged(events: Sequence[Encoded], timeout_s: float) -> Generator[Step, Outcome, list[Result]]:
    """`events` are ids with their JSON. Raises Unacknowledged when the time is over before all are answered."""
    give_up_s, backoff = time.monotonic() + timeout_s, Backoff()
    parts = deque(events[at : at + _REQUEST_MAX_EVENTS] for at in range(0, len(events), _REQUEST_MAX_EVENTS))
    results: list[Result] = []
    while parts:
        part = parts[0]
        outcome = yield Post([data for _, data in part], max(_SHORTEST_S, give_up_s - time.monotonic()))
        if outcome.is_to_be_split:
            middle = len(part) // 2
            parts.popleft()
            parts.extendleft((part[middle:], part[:middle]))
        elif outcome.retry_after_s is not None:
            wait_s = backoff.wait_s(outcome.retry_after_s)
            if time.monotonic() + wait_s >= give_up_s:
                raise Unacknowledged(outcome)
            yield Pause(wait_s)
        else:
            parts.popleft()
            backoff.reset()
            results += [result_of(event_id, index, outcome) for index, (event_id, _) in enumerate(part)]
    return results


def one_result(results: Sequence[Result]) -> Result:
    """Of a single event. Raises Rejected."""
    if results[0].status == "Rejected":
        raise Rejected(results[0])
    return results[0]
