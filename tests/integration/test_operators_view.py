"""What operators see of breakers and parked topics, as workers say it in a real Redis."""

import html
import json
import time
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from redis import Redis

from ingest.breaker_board import BreakerBoard
from ingest.breaker_reports import breakers_report
from ingest.builder import PUBLISHED
from ingest.console.history import breaker_transitions_copy
from ingest.dataplane.breaker import BreakerLimits
from ingest.dataplane.policy import Header, TopicPolicy, UnusableTopic, dump
from ingest.heartbeats import BREAKERS, JOURNALS, Heartbeat
from ingest.journal_reports import FlowReport
from ingest.models import BreakerTransition, Incident, OverrideKind
from ingest.overrides import override_add
from ingest.parked import PARKED, ParkedEntry, publish_parked, read_parked
from ingest.tasks.alerts import evaluate_alerts
from tenants.models import AuditEntry
from tests.unit.console.breaker_world import journals

NOW_WALL_MS = 1_790_000_000_123  # 2026-09-21T14:13:20.123Z


@pytest.fixture
def redis(empty_redis_url: str, settings: Settings) -> Redis:
    settings.FOREBAY_REDIS_URL = empty_redis_url
    return Redis.from_url(empty_redis_url)


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def parked(tenant: str = "acme", pending: int = 7, since_wall_ms: int = NOW_WALL_MS) -> ParkedEntry:
    return ParkedEntry(
        tenant=tenant,
        topic="logs",
        code="TOPIC_AUTHORIZATION_FAILED",
        detail="Broker: Topic authorization failed",
        since_wall_ms=since_wall_ms,
        pending=pending,
        node="node-1",
    )


def test_what_several_workers_have_parked_is_added_up(redis: Redis) -> None:
    publish_parked(redis, "worker-1", [parked(pending=7), parked("bolt", pending=1)])
    publish_parked(redis, "worker-2", [parked(pending=5, since_wall_ms=NOW_WALL_MS - 60_000)])

    first, second = read_parked(redis)

    assert (first.tenant, first.pending, first.worker) == ("acme", 12, "worker-2")
    assert (second.tenant, second.pending, second.worker) == ("bolt", 1, "worker-1")


def test_what_a_worker_resumes_is_parked_no_more(redis: Redis) -> None:
    publish_parked(redis, "worker-1", [parked()])
    publish_parked(redis, "worker-2", [parked("bolt")])

    publish_parked(redis, "worker-1", [])

    assert [entry.tenant for entry in read_parked(redis)] == ["bolt"]


def test_the_word_of_a_worker_that_is_gone_is_forgotten(redis: Redis) -> None:
    publish_parked(redis, "gone", [parked()])
    said = json.loads(redis.hget("forebay:parked:by_worker", "gone") or "")
    redis.hset("forebay:parked:by_worker", "gone", json.dumps(said | {"ends_ms": time.time() * 1000 - 1}))

    publish_parked(redis, "worker-1", [parked("bolt")])

    assert [entry.tenant for entry in read_parked(redis)] == ["bolt"]
    assert 0 < redis.pttl(PARKED) <= 15_000


def test_the_alerts_find_each_place_by_its_name_and_whole_numbers(redis: Redis) -> None:
    publish_parked(redis, "worker-1", [parked()])

    entry = json.loads(redis.hget(PARKED, "acme|logs") or "")

    assert (entry["pending"], entry["since_wall_ms"]) == (7, NOW_WALL_MS)
    assert (entry["code"], entry["node"]) == ("TOPIC_AUTHORIZATION_FAILED", "node-1")
    assert b"e+" not in (redis.hget(PARKED, "acme|logs") or b"")


def test_topic_parked_says_what_waits_and_why(redis: Redis) -> None:
    nothing = run("topic", "parked")
    publish_parked(redis, "worker-1", [parked(pending=12_345)])

    assert nothing == "Nothing is parked.\n"
    assert run("topic", "parked") == (
        "acme  logs  since 2026-09-21 14:13:20 UTC  12,345 events wait"
        "  TOPIC_AUTHORIZATION_FAILED: Broker: Topic authorization failed\n"
    )
    assert json.loads(run("topic", "parked", "--json"))["pending"] == 12_345


def test_breaker_status_says_where_each_stands_and_what_moved_it(redis: Redis) -> None:
    before = run("breaker", "status")
    board = BreakerBoard(redis, "worker-1", BreakerLimits())
    board.topic("logs").record(0, 5, 0, "_TRANSPORT")
    board.look()

    after = run("breaker", "status")
    facts = json.loads(run("breaker", "status", "--json"))

    assert before.split() == ["CLOSED", "the", "cluster"]
    cluster, logs, _, _, last = after.splitlines()
    assert cluster.split() == ["CLOSED", "the", "cluster"]
    assert logs.startswith("OPEN         topic logs  since ")
    assert last.endswith("CLOSED -> OPEN  5 of the last 5 calls failed, the last with _TRANSPORT (worker-1)")
    assert [breaker["state"] for breaker in facts["breakers"]] == ["CLOSED", "OPEN"]


@pytest.fixture
def console(redis: Redis, client: Client, settings: Settings, tmp_path: Path, db: None) -> Client:
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    client.force_login(get_user_model().objects.create_superuser("operator"))
    return client


def page(console: Client, name: str, *args: str) -> str:
    return html.unescape(console.get(reverse(f"console:{name}", args=args)).content.decode())


def heard(redis: Redis, board: BreakerBoard, pid: int = 7, version: int = 1) -> None:
    """A worker of this board speaks."""
    heart = Heartbeat(redis, "node-1", pid, time.time())
    heart.beat({"snapshot_version": version}, time.time())
    heart.tell(BREAKERS, breakers_report(board.breakers(), time.time_ns() // 1_000_000))


def test_the_console_shows_where_breakers_stand_in_each_worker_and_what_is_parked(
    redis: Redis, console: Client
) -> None:
    board = BreakerBoard(redis, "node-1/7", BreakerLimits())
    board.cluster.record(0, 5, 0, "_ALL_BROKERS_DOWN")
    board.look()
    heard(redis, board)
    publish_parked(redis, "node-1/7", [parked()])

    shown = page(console, "breakers")

    assert "5 of the last 5 calls failed, the last with _ALL_BROKERS_DOWN" in shown
    assert "node-1/7" in shown
    assert "TOPIC_AUTHORIZATION_FAILED: Broker: Topic authorization failed" in shown
    assert f"{reverse('console:override')}?kind=RESUMED&topic=logs&tenant=acme" in shown


def test_topics_are_those_of_the_snapshot_that_redis_has(redis: Redis, console: Client) -> None:
    topics = (TopicPolicy("logs", 6, 1 << 20), TopicPolicy("audit", 3, 1 << 20))
    redis.set(PUBLISHED, dump(Header(1, NOW_WALL_MS, (), topics, (), 0, 0), [], []))

    shown, one = page(console, "breakers"), page(console, "topic", "audit")

    assert reverse("console:topic", args=["logs"]) in shown
    assert ">3</span>" in one
    assert "not seen in the cluster" not in one


def test_why_a_topic_cannot_be_used_is_on_every_page_that_shows_what_waits_for_it(
    redis: Redis, console: Client
) -> None:
    small = UnusableTopic("pictures", "too_small", takes_bytes=2_000, batch_bytes=1_000_000)
    redis.set(PUBLISHED, dump(Header(1, NOW_WALL_MS, (), (), (), 0, 0, unusable=(small,)), [], []))
    heartbeat = Heartbeat(redis, "node-1", 7, time.time())
    heartbeat.beat({"journal_pending_events": 806, "delivered_last_minute_events": 50}, time.time())
    heartbeat.tell(JOURNALS, journals(FlowReport("acme", "pictures", 806, int(time.time() // 60))))

    pages = {name: page(console, name) for name in ("breakers", "journals", "overview")}
    pages["topic"] = page(console, "topic", "pictures")
    evaluate_alerts()

    for name, shown in pages.items():
        assert "it takes 2,000 bytes at a time, and a batch has up to 1,000,000" in shown, name
    assert "They leave by themselves, the oldest first" not in pages["journals"]
    assert f'href="{reverse("console:tenant", args=["acme"])}"' in pages["journals"]
    assert "Healthy" not in pages["overview"]
    assert "create it, allow" not in pages["topic"]
    assert Incident.objects.get(kind="topic_behind").subject == "topic pictures"


def test_a_move_is_shown_before_it_is_copied_and_once_when_it_was(redis: Redis, console: Client) -> None:
    board = BreakerBoard(redis, "node-1/7", BreakerLimits())
    board.topic("logs").record(0, 5, 0, "_TRANSPORT")
    board.look()
    why = ">5 of the last 5 calls failed, the last with _TRANSPORT</td>"

    fresh = page(console, "topic", "logs")
    breaker_transitions_copy(redis)
    copied = page(console, "topic", "logs")

    assert (fresh.count(why), copied.count(why)) == (1, 1)
    assert BreakerTransition.objects.count() == 1


def test_the_page_says_which_workers_obey(redis: Redis, console: Client) -> None:
    board = BreakerBoard(redis, "node-1/7", BreakerLimits())
    heard(redis, board, pid=7, version=0)
    word = override_add(kind=OverrideKind.FORCED_OPEN, by="operator", reason="brokers are moved")
    before = page(console, "breakers")

    heard(redis, board, pid=7, version=word.pk + 10**15)
    after = page(console, "breakers")

    assert "0 of 1 worker obeys" in before
    assert "node-1/7 not yet" in before
    assert "1 of 1 worker obeys" in after


def test_an_override_notes_what_it_found(redis: Redis, db: None) -> None:
    board = BreakerBoard(redis, "node-1/7", BreakerLimits())
    board.topic("logs").record(0, 5, 0, "_TRANSPORT")
    board.look()

    override_add(kind=OverrideKind.RESET, topic="logs", by="operator", reason="it is well")

    line = AuditEntry.objects.get(action="override.reset")
    assert line.before == {"state": "OPEN: 5 of the last 5 calls failed, the last with _TRANSPORT"}
    assert line.after == {"state": "CLOSED"}
