"""Claims in a real Redis: one of many processes takes a name, and what a dead or slow one leaves ends by itself."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from uuid import uuid4

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingest.api.answers import Answer
from ingest.api.claims import PROVISIONAL_MS, RETRY_S, Claims, new_mark
from ingest.api.idempotency import Once
from ingest.dataplane.errors import Conflict
from ingest.dataplane.event import Decoded
from ingest.dataplane.outcome import Outcome
from tests.services import RedisServer

PROCESSES, THREADS, REQUESTS = 3, 4, 100
KEPT_S = 3_600
NOTHING = Outcome("now", Decoded([], (), {}), 0, {}, {}, wanted_ack=False)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def connect(url: str, timeout_s: float = 0.25) -> Redis:
    return Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0))


def open_claims(redis: Redis, clock: Callable[[], float] = time.monotonic) -> Claims:
    return Claims(redis, kept_s=KEPT_S, max_events=10_000, clock=clock)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url, timeout_s=5) as client:
        yield client


@pytest.fixture
def name() -> bytes:
    """One that no other test has."""
    return f"forebay:test:{uuid4().hex}".encode()


# --- many processes --------------------------------------------------------------------------------------------------
def send_until_answered(claims: Claims, tenant: str, key: str, answer: bytes) -> tuple[bool, bytes]:
    """One request with a key, sent again while another has it: whether it was taken, and what it was answered."""
    while True:
        try:
            with Once(claims, tenant) as once:
                once.name_key(key, "1", ("logs",), b"x")
                replayed = once.claim()
                if replayed is not None:
                    return False, replayed.body
                once.keep(NOTHING, Answer(202, answer))
                assert once.status == ""
                return True, answer
        except Conflict:
            continue


def send_all(redis_url: str, tenant: str, ready: Barrier, results: "Queue[list[tuple[str, bool, bytes]]]") -> None:
    """One process that sends every request from several threads at once."""
    with connect(redis_url, timeout_s=5) as redis, ThreadPoolExecutor(THREADS) as threads:
        claims = open_claims(redis)
        ready.wait(60)
        keys = [f"k-{number}" for number in range(REQUESTS)] * THREADS
        answers = threads.map(lambda key: send_until_answered(claims, tenant, key, uuid4().bytes), keys)
        results.put([(key, *answer) for key, answer in zip(keys, answers, strict=True)])


def test_of_many_processes_one_takes_a_request_and_all_hear_its_answer(redis_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(PROCESSES), context.Queue()
    arguments = (redis_url, f"acme-{uuid4().hex[:12]}", ready, results)
    processes = [context.Process(target=send_all, args=arguments, daemon=True) for _ in range(PROCESSES)]
    for process in processes:
        process.start()

    answers = [answer for _ in processes for answer in results.get(timeout=60)]
    for process in processes:
        process.join(30)

    taken = Counter(key for key, was_taken, _ in answers if was_taken)
    assert len(answers) == PROCESSES * THREADS * REQUESTS
    assert taken == Counter({f"k-{number}": 1 for number in range(REQUESTS)})
    assert len({(key, body) for key, _, body in answers}) == REQUESTS


# --- how long --------------------------------------------------------------------------------------------------------
def test_a_claim_ends_by_itself_and_what_is_kept_stays_a_day(redis: Redis, name: bytes) -> None:
    claims, mark = open_claims(redis), new_mark()

    claims.claim({name: mark})
    provisional_ms = redis.pttl(name)
    claims.settle({name: mark}, {name: b"=kept"})

    assert 0 < provisional_ms <= PROVISIONAL_MS
    assert KEPT_S * 1_000 - 60_000 < redis.pttl(name) <= KEPT_S * 1_000
    assert redis.get(name) == b"=kept"


def test_a_claim_that_is_let_go_of_can_be_taken_again(redis: Redis, name: bytes) -> None:
    claims, mark = open_claims(redis), new_mark()
    claims.claim({name: mark})

    before = claims.claim({name: new_mark()})
    claims.settle({name: mark}, {})
    after = claims.claim({name: new_mark()})

    assert (before, after) == ({name: mark}, {})


def test_a_claim_that_has_ended_is_kept_all_the_same(redis: Redis, name: bytes) -> None:
    claims, mark = open_claims(redis), new_mark()
    claims.claim({name: mark})
    redis.delete(name)

    claims.settle({name: mark}, {name: b"=kept"})

    assert redis.get(name) == b"=kept"


@pytest.mark.parametrize("kept", [{}, {"name": b"=mine"}], ids=["let go", "kept"])
def test_a_claim_that_is_somebody_elses_by_now_is_left(redis: Redis, name: bytes, kept: dict[str, bytes]) -> None:
    claims, mine, theirs = open_claims(redis), new_mark(), new_mark()
    claims.claim({name: mine})
    redis.delete(name)
    claims.claim({name: theirs})

    claims.settle({name: mine}, dict.fromkeys([name] if kept else [], b"=mine"))

    assert redis.get(name) == theirs


def test_ten_thousand_names_are_claimed_and_kept(redis: Redis, name: bytes) -> None:
    claims, mark = open_claims(redis), new_mark()
    names = [name + str(number).encode() for number in range(10_000)]

    first = claims.claim(dict.fromkeys(names[:6_000], mark))
    claims.settle(dict.fromkeys(names[:6_000], mark), dict.fromkeys(names[:3_000], b"="))
    second = claims.claim(dict.fromkeys(names, mark))

    assert first == {}
    assert second == dict.fromkeys(names[:3_000], b"=")


# --- Redis away ------------------------------------------------------------------------------------------------------
def test_a_hanging_redis_is_waited_for_once_a_second(own_redis: RedisServer, name: bytes) -> None:
    clock = Clock()
    with connect(own_redis.url) as redis:
        claims = open_claims(redis, clock)
        assert claims.claim({name: new_mark()}) == {}
        own_redis.freeze()
        begun_s = time.monotonic()

        without = [claims.claim({name: new_mark()}) for _ in range(50)]
        took_s = time.monotonic() - begun_s
        own_redis.thaw()
        clock.now_s += RETRY_S
        back = claims.claim({name: new_mark()})

    assert without == [None] * 50
    assert took_s < 2  # fifty time-outs would be 12 s
    assert back is not None


def test_a_redis_that_goes_away_in_between_is_told_to_the_sender(own_redis: RedisServer) -> None:
    with connect(own_redis.url) as redis, Once(open_claims(redis), "acme") as once:
        once.name_key("k-1", "1", ("logs",), b"x")
        once.claim()
        own_redis.stop()

        once.keep(NOTHING, Answer(202, b"{}"))

    assert once.status == "unchecked"


def test_a_full_redis_counts_as_away(own_redis: RedisServer, name: bytes) -> None:
    with connect(own_redis.url, timeout_s=5) as redis:
        redis.config_set("maxmemory-policy", "noeviction")
        redis.config_set("maxmemory", 1)

        assert open_claims(redis).claim({name: new_mark()}) is None
