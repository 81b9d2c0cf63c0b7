"""How long to wait before the next attempt: what the server says, else twice as long each time, with jitter."""

from __future__ import annotations

import random

FIRST_S = 0.25
MOST_S = 30.0


class Backoff:
    """Of one sequence of attempts. Not thread-safe."""

    def __init__(self) -> None:
        self._next_s = FIRST_S

    def wait_s(self, retry_after_s: float) -> float:
        """Seconds until the next attempt: never less than the server asked for; 0 means that it named no time.

        Many senders are told the same: up to a quarter more spreads them, so that they do not come back all at once.
        """
        if retry_after_s:
            return retry_after_s * random.uniform(1.0, 1.25)
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, MOST_S)
        return wait_s * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """An attempt succeeded."""
        self._next_s = FIRST_S
