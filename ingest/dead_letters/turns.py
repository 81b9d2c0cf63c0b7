"""Which dead letters are sent next: those an operator asks for before all others, and of both the tenants' in turn.

Control plane; one Turns for each sweep, on its thread. However many letters of one tenant are due, and since whenever,
each other one has its share of every few portions.
"""

from collections import deque

from django.db.models import Min, Q, QuerySet

from ingest.models import DeadLetter

# What a sender holds in memory at a time, about.
BATCH_BYTES = 4 << 20
# A portion is shared by so many tenants; where more have something due, those come with the next ones.
TENANTS_A_PORTION = 10
# One at a time, not as part of a bulk replay; a retry of it is one like any other.
ASKED_FOR = Q(bulk=None, retries=0) & ~Q(requested_by="")


class Portion:
    """Letters to claim, by number: up to `most`, and not many more bytes than BATCH_BYTES."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.last_claims: dict[int, str] = {}  # the letters, and the claim that each was left with
        self._bytes = 0
        self._is_heavy = False

    @property
    def room(self) -> int:
        """How many more it takes."""
        return 0 if self._is_heavy else self.most - len(self.last_claims)

    def add(self, pk: int, size_bytes: int, claimed_by: str) -> None:
        """Unless it is full. The first one always fits."""
        self._bytes += size_bytes
        if self.last_claims and self._bytes > BATCH_BYTES:
            self._is_heavy = True
        if self.room:
            self.last_claims[pk] = claimed_by


class Turns:
    """Whose turn it is. Who has something due is asked anew when everybody has had all of his."""

    def __init__(self) -> None:
        self._asked_for: deque[str] = deque()
        self._others: deque[str] = deque()

    def choose(self, due: QuerySet[DeadLetter], most: int, *, locked: bool) -> Portion:
        """The next ones of what is due. `locked`: in a transaction that others pass by."""
        portion = Portion(most)
        _fill(portion, due.filter(ASKED_FOR), self._asked_for, locked=locked)
        _fill(portion, due.exclude(ASKED_FOR), self._others, locked=locked)
        return portion


def _fill(portion: Portion, due: QuerySet[DeadLetter], tenants: deque[str], *, locked: bool) -> None:
    if portion.room and not tenants:
        tenants.extend(_longest_waiting_first(due))
    rows = due.select_for_update(skip_locked=True, of=("self",)) if locked else due
    while tenants and portion.room:
        share = min(portion.room, max(1, portion.most // min(len(tenants), TENANTS_A_PORTION)))
        theirs = rows.filter(tenant=tenants[0]).exclude(pk__in=portion.last_claims)
        found = list(theirs.values_list("pk", "size_bytes", "claimed_by")[:share])
        for row in found:
            portion.add(*row)
        if len(found) < share:
            tenants.popleft()
        else:
            tenants.rotate(-1)


def _longest_waiting_first(due: QuerySet[DeadLetter]) -> list[str]:
    waiting = due.order_by().values("tenant").annotate(since=Min("next_attempt_at")).order_by("since")
    return list(waiting.values_list("tenant", flat=True))
