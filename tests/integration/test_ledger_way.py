"""The ledger on its way from the journals through a real Redis into the database, which any of them may interrupt."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ingest.dataplane.ledger import Account, Ending
from ingest.ledger import publisher
from ingest.ledger.accounts import JOURNALS, encode, field, kept_key, totals_key
from ingest.ledger.copying import account_of, copy_all, keep
from ingest.ledger.publisher import LedgerPublisher
from ingest.models import JournalState, LedgerMinute
from tests.ledger_world import MINUTE, CountingJournal
from tests.services import RedisServer

pytestmark = pytest.mark.django_db
LATER_S = MINUTE * 60 + 20 * 60.0
NAME = CountingJournal().name


@pytest.fixture
def client(empty_redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(empty_redis_url) as client:
        yield client


class Clock:
    """Seconds as the test says."""

    def __init__(self) -> None:
        self.wall_s = LATER_S

    def __call__(self) -> float:
        return self.wall_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_publisher(client: redis.Redis, clock: Clock) -> Callable[[], LedgerPublisher]:
    def new() -> LedgerPublisher:
        clock.wall_s += 1
        return LedgerPublisher(client, "node-1", now_s=clock, wall_s=clock)

    return new


def kept() -> dict[tuple[str, int], Account]:
    return {(row.tenant, row.minute): account_of(row) for row in LedgerMinute.objects.all()}


def test_what_is_published_is_copied_and_then_forgotten_by_the_journal(
    client: redis.Redis, new_publisher: Callable[[], LedgerPublisher]
) -> None:
    journal, told = CountingJournal(), new_publisher()
    journal.accept("acme", 5, rejected=2)
    journal.settle("acme", 5)

    told.publish([journal])
    copied = copy_all(client)
    told.publish([journal])

    assert copied == 1
    assert kept() == journal.truth
    assert journal.ledger.accounts == {}
    assert (client.hlen(totals_key(NAME)), client.exists(kept_key(NAME))) == (0, 0)


def test_an_account_with_something_pending_stays_in_the_journal(
    client: redis.Redis, new_publisher: Callable[[], LedgerPublisher]
) -> None:
    journal, told = CountingJournal(), new_publisher()
    journal.accept("acme", 5)
    journal.settle("acme", 4)

    told.publish([journal])
    copy_all(client)
    told.publish([journal])

    assert list(journal.ledger.accounts) == [("acme", MINUTE)]
    assert JournalState.objects.get().unsettled == 1


def test_an_account_of_a_minute_that_is_not_over_stays_unless_its_journal_was_adopted(
    client: redis.Redis, clock: Clock, new_publisher: Callable[[], LedgerPublisher]
) -> None:
    clock.wall_s = MINUTE * 60.0
    journal, told = CountingJournal(), new_publisher()
    journal.accept("acme", 5)
    journal.settle("acme", 5)
    told.publish([journal])
    copy_all(client)

    told.publish([journal])
    stayed = len(journal.ledger.accounts)
    clock.wall_s += publisher.CONFIRM_INTERVAL_S
    told.publish([journal], adopted={NAME})

    assert stayed == 1
    assert journal.ledger.accounts == {}


def test_redis_that_comes_back_empty_is_told_everything_again(
    client: redis.Redis, new_publisher: Callable[[], LedgerPublisher]
) -> None:
    journal, told = CountingJournal(), new_publisher()
    journal.accept("acme", 5)
    told.publish([journal])
    client.flushdb()

    told.publish([journal])
    told.publish([journal])
    copy_all(client)

    assert kept() == journal.truth


def test_redis_that_comes_back_with_what_it_saved_earlier_is_told_everything_again(
    client: redis.Redis, new_publisher: Callable[[], LedgerPublisher]
) -> None:
    journal, told = CountingJournal(), new_publisher()
    journal.accept("acme", 5)
    told.publish([journal])
    saved_beat, saved_totals = client.hgetall(JOURNALS), client.hgetall(totals_key(NAME))
    journal.accept("acme", 2)
    told.publish([journal])
    client.flushdb()
    client.hset(JOURNALS, mapping=saved_beat)  # type: ignore[arg-type]  # bytes are what Redis gave
    client.hset(totals_key(NAME), mapping=saved_totals)  # type: ignore[arg-type]

    told.publish([journal])
    told.publish([journal])
    copy_all(client)

    assert kept() == journal.truth


def test_while_redis_is_killed_nothing_is_lost_and_nothing_raised(clock: Clock, own_redis: RedisServer) -> None:
    client = redis.Redis.from_url(own_redis.url)
    journal, told = CountingJournal(), LedgerPublisher(client, "node-1", now_s=clock, wall_s=clock)
    journal.accept("acme", 5)
    answered = [told.publish([journal])]
    own_redis.kill()
    journal.accept("acme", 1)
    answered.append(told.publish([journal]))
    own_redis.start()

    answered += [told.publish([journal]), told.publish([journal])]
    copy_all(client)
    client.close()

    assert answered == [True, False, True, True]
    assert kept() == journal.truth


def test_an_adopter_tells_for_the_dead_and_may_remove_the_journal_soon(
    client: redis.Redis, new_publisher: Callable[[], LedgerPublisher]
) -> None:
    journal, told = CountingJournal(), new_publisher()
    journal.accept("acme", 5)
    told.publish([journal])
    adopted, adopter = journal.adopted(), new_publisher()
    adopted.settle("acme", 5)

    adopter.publish([adopted], adopted={NAME})
    copy_all(client)
    adopter.publish([adopted], adopted={NAME})
    is_free = not adopted.ledger.accounts
    adopter.finish(NAME)
    adopter.publish([])
    copy_all(client)

    assert is_free
    assert JournalState.objects.get().finished_at is not None
    assert list(client.scan_iter("forebay:ledger:*")) == []


def test_an_answer_to_an_older_total_does_not_confirm_a_newer_one(
    client: redis.Redis, new_publisher: Callable[[], LedgerPublisher]
) -> None:
    journal, told = CountingJournal(), new_publisher()
    journal.accept("acme", 5)
    journal.settle("acme", 5)
    told.publish([journal])
    copy_all(client)
    journal.accept("acme", 2)
    journal.settle("acme", 2)

    told.publish([journal])
    stayed = len(journal.ledger.accounts)
    copy_all(client)
    told.publish([journal])

    assert stayed == 1
    assert journal.ledger.accounts == {}
    assert kept() == journal.truth


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.sampled_from(["acme", "bolt"]), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("settle"), st.sampled_from(["acme", "bolt"]), st.integers(0, 2), st.sampled_from(Ending)),
        st.tuples(st.sampled_from(["publish", "copy", "lose", "save", "restore", "die", "tick"])),
    ),
    max_size=40,
)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_whatever_happens_in_between_the_table_ends_at_the_truth(
    client: redis.Redis,
    clock: Clock,
    new_publisher: Callable[[], LedgerPublisher],
    operations: list[tuple[Any, ...]],
) -> None:
    client.flushdb()
    LedgerMinute.objects.all().delete()
    JournalState.objects.all().delete()
    world = World(client, clock, new_publisher)

    for operation in operations:
        world.do(*operation)
    world.end()

    assert kept() == world.journal.truth
    assert sum(account.pending for account in kept().values()) == JournalState.objects.get().unsettled
    assert all(account.pending for account in world.journal.ledger.accounts.values())


class World:
    """One journal whose worker may die at any time, and a Redis that loses all or goes back to what it saved."""

    def __init__(self, client: redis.Redis, clock: Clock, new_publisher: Callable[[], LedgerPublisher]) -> None:
        self.client, self.clock, self._new_publisher = client, clock, new_publisher
        self.journal, self.told = CountingJournal(), new_publisher()
        self._saved: dict[bytes, bytes] = {}

    def do(self, what: str, tenant: str = "", minute: int = 0, extra: int = 0) -> None:
        if what == "accept":
            self.journal.accept(tenant, extra, minute=MINUTE + minute, rejected=1)
        elif what == "settle":
            self.journal.settle(tenant, 2, Ending(extra), minute=MINUTE + minute)
        else:
            getattr(self, what)()

    def publish(self) -> None:
        self.told.publish([self.journal], adopted={NAME} if self.clock.wall_s % 2 else ())

    def copy(self) -> None:
        copy_all(self.client)

    def lose(self) -> None:
        self.client.flushdb()

    def save(self) -> None:
        self._saved = {key: self.client.dump(key) or b"" for key in self.client.scan_iter()}

    def restore(self) -> None:
        self.client.flushdb()
        for key, value in self._saved.items():
            self.client.restore(key, 0, value)

    def die(self) -> None:
        self.journal, self.told = self.journal.adopted(), self._new_publisher()

    def tick(self) -> None:
        self.clock.wall_s += publisher.CONFIRM_INTERVAL_S + 1

    def end(self) -> None:
        """Everything works again for long enough."""
        for _ in range(3):
            self.tick()
            self.told.publish([self.journal], adopted={NAME})
            copy_all(self.client)
        self.tick()
        self.told.publish([self.journal], adopted={NAME})


def test_ten_thousand_accounts_are_copied_in_a_bounded_number_of_queries(
    client: redis.Redis, new_publisher: Callable[[], LedgerPublisher]
) -> None:
    journal, told = CountingJournal(), new_publisher()
    for number in range(10_000):
        journal.accept(f"tenant-{number % 2_000}", 1, minute=MINUTE + number // 2_000)
    told.publish([journal])
    told.publish([journal])

    with CaptureQueriesContext(connection) as queries:
        copied = copy_all(client)

    assert copied == 10_000
    assert kept() == journal.truth
    assert len(queries) < 400  # SQLite inserts 58 rows at a time


@pytest.mark.django_db(transaction=True)
def test_copies_that_run_at_once_lose_nothing_between_them(
    client: redis.Redis, new_publisher: Callable[[], LedgerPublisher]
) -> None:
    journal, told = CountingJournal(), new_publisher()
    failed: list[Exception] = []
    done = threading.Event()

    def copy_on() -> None:
        try:
            while not done.is_set():
                copy_all(client)
        except Exception as error:  # noqa: BLE001 - the test shows whatever it was
            failed.append(error)
        finally:
            connections.close_all()

    copiers = [threading.Thread(target=copy_on) for _ in range(3)]
    for copier in copiers:
        copier.start()
    for number in range(60):
        journal.accept("acme", 3, minute=MINUTE + number % 4)
        journal.settle("acme", 2, minute=MINUTE + number % 4)
        told.publish([journal])
    done.set()
    for copier in copiers:
        copier.join()
    copy_all(client)

    assert failed == []
    assert kept() == journal.truth


@pytest.mark.django_db(transaction=True)
def test_whoever_copies_second_waits_until_the_first_has_written() -> None:
    older, newer = Account("acme", MINUTE, received=4, journaled=4), Account("acme", MINUTE, received=9, journaled=9)
    keep(NAME, [Account("acme", MINUTE, received=1)])
    second_may_begin, second_is_done = threading.Event(), threading.Event()

    def let_the_second_try(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("INSERT"):
            second_may_begin.set()
            second_is_done.wait(0.5)
        return execute(sql, *rest)

    def first() -> None:
        with connection.execute_wrapper(let_the_second_try):
            keep(NAME, [older])
        connection.close()

    first_copier = threading.Thread(target=first)
    first_copier.start()
    second_may_begin.wait(10)
    keep(NAME, [newer])
    second_is_done.set()
    first_copier.join()

    assert LedgerMinute.objects.get().received == 9


def test_an_older_total_that_arrives_late_does_not_set_the_row_back(client: redis.Redis) -> None:
    newer, older = Account("acme", MINUTE, received=9, journaled=9), Account("acme", MINUTE, received=4, journaled=4)
    client.hset(JOURNALS, NAME, b'{"node":"n","pid":1,"seen_wall_s":1,"unsettled":9,"oldest_minute":0,"sequence":1}')
    for account in (newer, older):
        client.hset(totals_key(NAME), field(account), encode(account))
        copy_all(client)

    assert LedgerMinute.objects.get().received == 9
