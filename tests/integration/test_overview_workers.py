"""The overview of two real workers, and of one of them killed: both are summed, and the one that is gone is named."""

import http.client
import json
import time
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from ingest.console.live import Live, look
from ingest.console.problems import problems_of
from ingest.models import Incident
from tests.node import Node
from tests.programs import poll_until

pytestmark = pytest.mark.django_db

REQUESTS, EVENTS_A_REQUEST = 40, 25
SENT = REQUESTS * EVENTS_A_REQUEST


def send_from_many_connections(node: Node, key: str) -> None:
    """The kernel gives each connection to one worker or the other."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    events = [{"source": "shop", "level": "INFO", "message": f"event {number}"} for number in range(EVENTS_A_REQUEST)]
    for _ in range(REQUESTS):
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
        connection.request("POST", "/api/logs/batch", json.dumps(events), headers)
        assert connection.getresponse().status == 202
        connection.close()


def test_two_workers_are_summed_and_one_that_was_killed_is_shown_missing(
    start_node: Callable[..., Node], empty_redis_url: str, settings: Settings, client: Client
) -> None:
    settings.FOREBAY_REDIS_URL = empty_redis_url
    client.force_login(User.objects.create_superuser("operator"))
    node = start_node(environment={"FOREBAY_WORKERS": "2"})
    node.manage("tenant_create", "acme", "--plan", "agent")
    made = node.manage("key_issue", "acme", "--json")
    key = json.loads(made.strip().splitlines()[-1])["secret"]
    with Redis.from_url(empty_redis_url) as redis:

        def seen() -> Live:
            return look(redis, time.time())

        assert poll_until(lambda: len(seen().workers) == 2, deadline_s=30)
        send_from_many_connections(node, key)
        assert poll_until(lambda: seen().totals.delivered_events == SENT, deadline_s=30), seen().totals
        both = seen()
        each = [worker.accepted_last_minute_events for worker in both.workers]
        page = client.get("/admin/").content.decode()
        Incident.objects.create(kind="produce_slow", subject="w", opened_at=timezone.now(), last_seen_at=timezone.now())
        alerted = client.get("/admin/").content.decode()
        killed = node.kill_worker()
        assert poll_until(lambda: any(worker.pid == killed for worker in seen().missing), deadline_s=40)
        after = seen()
        later = client.get("/admin/").content.decode()

    assert min(each) > 0  # else this is no test of a sum
    assert (sum(each), both.totals.accepted_events, both.totals.workers) == (SENT, SENT, 2)
    assert both.totals.p50_ms is not None
    assert "2 workers heard" in page
    assert ">Healthy</h2>" in page
    assert 'Healthy, but <a href="#alerts">1 alert</a> is open</h2>' in alerted
    assert [problem.text for problem in problems_of(after, (), unwatched_s=600)] == [
        f"misses the worker {after.missing[0].name}: it says nothing any more."
    ]
    assert f"misses the worker {after.missing[0].name}" in later
    assert all(worker.pid != killed for worker in after.workers)
