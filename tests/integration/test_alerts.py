"""Alerts end to end: real Redis, the task as Celery runs it, and a web and a mail server that receive what it sends."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
import redis
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone
from prometheus_client import REGISTRY
from pytest_django import Settings

from forebay.local.command import Command
from ingest.alerts import notify, webhook
from ingest.alerts.kinds import EVALUATED, OPEN_COUNTS
from ingest.alerts.observing import LEDGER_CHECK, PARKED
from ingest.alerts.shown import show_open_alerts
from ingest.figures import FAILED_TRIES, show_figures
from ingest.heartbeats import Heartbeat, workers
from ingest.models import Incident, Notification
from ingest.tasks.alerts import evaluate_alerts
from tenants.models import ControlPlaneVersion
from tests.programs import Program, poll_until, run
from tests.receivers import MailReceiver, WebhookReceiver
from tests.services import RedisServer
from tests.unit.dead_letters.world import letters

pytestmark = pytest.mark.django_db

SECRET = "shared-with-the-receiver"
ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
EVALUATES_WHEN_TOLD = """
import redis
from django.conf import settings
from ingest.tasks.alerts import evaluate_alerts
client = redis.Redis.from_url(settings.FOREBAY_REDIS_URL)
client.rpush("ready", 1)
client.blpop("go", 60)
assert [evaluate_alerts() for _ in range(3)] == [5, 5, 5]
"""


@pytest.fixture
def hook() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def mail() -> Iterator[MailReceiver]:
    with MailReceiver() as receiver:
        yield receiver


@pytest.fixture
def client(empty_redis_url: str, settings: Settings) -> Iterator[redis.Redis]:
    settings.FOREBAY_REDIS_URL = empty_redis_url
    with redis.Redis.from_url(empty_redis_url) as connected:
        yield connected


@pytest.fixture(autouse=True)
def alerting(settings: Settings, hook: WebhookReceiver, mail: MailReceiver) -> None:
    settings.FOREBAY_ALERT_WEBHOOK_URL = hook.url
    settings.FOREBAY_ALERT_WEBHOOK_SECRET = SECRET
    settings.FOREBAY_ALERT_EMAIL_TO = ["oncall@example.com"]
    settings.FOREBAY_ALERT_CLEAR_S = 0
    settings.FOREBAY_RUNBOOK_URL = "https://wiki.example.com/runbook"
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mail.port


def beat(client: redis.Redis, pid: int = 7, silent_s: float = 0, age_s: float = 100, **fields: object) -> None:
    """A worker that knows every change, however long ago the database was made."""
    now_s = time.time()
    known = {"snapshot_version": ControlPlaneVersion.current()}
    Heartbeat(client, "n1", pid, now_s - age_s).beat(known | fields, now_s - silent_s)


def try_again_now() -> None:
    Notification.objects.filter(sent_at=None).update(next_attempt_at=timezone.now())


def test_an_incident_reaches_both_channels_once_when_it_opens_and_once_when_it_ends(
    client: redis.Redis, hook: WebhookReceiver, mail: MailReceiver
) -> None:
    beat(client, queue_utilisation_ratio=0.93)
    for _ in range(3):
        evaluate_alerts()
    beat(client)
    for _ in range(3):
        evaluate_alerts()

    assert [post.message["event"] for post in hook.received] == ["opened", "ended"]
    opened = hook.received[0].message
    assert (opened["kind"], opened["subject"], opened["severity"]) == (
        "buffer_filling",
        "producer queue of n1/7",
        "page",
    )
    assert opened["value"] == "93% of its bytes used."
    assert opened["runbook"] == "https://wiki.example.com/runbook#buffer_filling"
    assert [letter["Subject"] for letter in mail.received] == [
        "[Forebay] A buffer is filling up: producer queue of n1/7",
        "[Forebay] ended: A buffer is filling up: producer queue of n1/7",
    ]
    assert "https://wiki.example.com/runbook#buffer_filling" in mail.received[0].get_payload()


def test_the_receiver_can_tell_who_sent_it_and_when(client: redis.Redis, hook: WebhookReceiver) -> None:
    client.hset(PARKED, "bolt|audit", json.dumps({"code": "TOPIC_AUTHORIZATION_FAILED", "pending": 3, "node": "n1"}))

    evaluate_alerts()

    (post,) = hook.received
    timestamp = post.headers[webhook.TIMESTAMP_HEADER]
    assert post.headers[webhook.SIGNATURE_HEADER] == webhook.sign(SECRET, timestamp, post.body)
    assert abs(int(timestamp) - time.time()) < 30
    assert post.message["subject"] == "audit of bolt"


def test_a_receiver_that_fails_is_tried_again_until_it_takes_it(
    client: redis.Redis, hook: WebhookReceiver, mail: MailReceiver
) -> None:
    hook.status, mail.refuses = 500, True
    client.set(LEDGER_CHECK, json.dumps({"at_wall_s": time.time(), "mismatches": ["acme: 3 events unaccounted for"]}))
    evaluate_alerts()
    evaluate_alerts()
    tried_too_early = len(hook.received)
    failures = {row.channel: (row.attempts, row.last_error) for row in Notification.objects.all()}
    hook.status, mail.refuses = 200, False
    try_again_now()

    evaluate_alerts()

    assert tried_too_early == 1
    assert failures["webhook"] == (1, "it answered 500 Internal Server Error")
    assert failures["email"][0] == 1
    assert "550" in failures["email"][1]
    assert [post.message["kind"] for post in hook.received] == ["ledger_mismatch", "ledger_mismatch"]
    assert len(mail.received) == 1
    assert not Notification.objects.filter(sent_at=None).exists()


def test_an_end_waits_until_the_beginning_was_told(client: redis.Redis, hook: WebhookReceiver) -> None:
    hook.status = 503
    beat(client, damaged_segments=1)
    evaluate_alerts()
    beat(client)
    evaluate_alerts()
    evaluate_alerts()
    hook.status, hook.received = 200, []

    for _ in range(2):
        try_again_now()
        evaluate_alerts()

    assert [post.message["event"] for post in hook.received] == ["opened", "ended"]


@pytest.mark.parametrize("status", [302, 400, 503])
def test_only_a_success_counts_as_taken(client: redis.Redis, hook: WebhookReceiver, status: int) -> None:
    hook.status = status
    beat(client, damaged_segments=1)

    evaluate_alerts()

    assert len(hook.received) == 1
    assert str(status) in Notification.objects.get(channel="webhook").last_error


def test_evaluations_in_several_processes_at_once_tell_nobody_twice(
    client: redis.Redis, hook: WebhookReceiver, mail: MailReceiver, database_url: str, tmp_path: Path
) -> None:
    environment = {
        "DATABASE_URL": database_url,
        "FOREBAY_VAR_DIR": str(tmp_path),
        "FOREBAY_REDIS_URL": django_settings.FOREBAY_REDIS_URL,
        "FOREBAY_ALERT_WEBHOOK_URL": hook.url,
        "FOREBAY_ALERT_EMAIL_TO": "oncall@example.com",
        "FOREBAY_EMAIL_URL": f"smtp://127.0.0.1:{mail.port}",
    }
    run([sys.executable, "manage.py", "migrate", "--skip-checks", "--verbosity", "0"], env=environment, cwd=ROOT)
    for topic in range(5):
        client.hset(PARKED, f"bolt|audit-{topic}", json.dumps({"code": "TOPIC_AUTHORIZATION_FAILED"}))
    evaluator = Command([sys.executable, "manage.py", "shell", "-c", EVALUATES_WHEN_TOLD], ROOT, environment)
    evaluators = [Program(evaluator, tmp_path / f"{number}.log") for number in range(3)]
    assert poll_until(lambda: client.llen("ready") == len(evaluators), DEADLINE_S)

    client.rpush("go", *range(len(evaluators)))

    assert [one.wait(DEADLINE_S) for one in evaluators] == [0, 0, 0], [one.log_tail() for one in evaluators]
    subjects = [post.message["subject"] for post in hook.received]
    assert sorted(subjects) == [f"audit-{topic} of bolt" for topic in range(5)]
    assert len(mail.received) == 5


def test_a_worker_that_is_killed_is_missed_until_another_replaces_it(
    client: redis.Redis, hook: WebhookReceiver
) -> None:
    beat(client, pid=7, silent_s=16)
    evaluate_alerts()
    missed = Incident.objects.get(kind="worker_missing")
    beat(client, pid=8, age_s=0)
    evaluate_alerts()
    evaluate_alerts()

    missed.refresh_from_db()
    assert missed.ended_at is not None
    assert [status.name for status in workers(client)] == ["n1/8"]
    assert [post.message["event"] for post in hook.received] == ["opened", "ended"]


def test_the_evaluation_leaves_its_time_and_what_is_open(client: redis.Redis) -> None:
    beat(client, damaged_segments=1)

    evaluate_alerts()

    assert float(client.get(EVALUATED) or 0) == pytest.approx(time.time(), abs=30)
    assert json.loads(client.get(OPEN_COUNTS) or b"") == {"journal_damaged": 1}


def test_redis_away_is_an_incident_and_ends_no_other(
    own_redis: RedisServer, settings: Settings, hook: WebhookReceiver
) -> None:
    settings.FOREBAY_REDIS_URL = own_redis.url
    with redis.Redis.from_url(own_redis.url) as client:
        beat(client, damaged_segments=1)
    evaluate_alerts()
    own_redis.kill()
    evaluate_alerts()
    evaluate_alerts()
    during = set(Incident.objects.filter(ended_at=None).values_list("kind", flat=True))
    own_redis.start()

    evaluate_alerts()
    evaluate_alerts()

    assert during == {"journal_damaged", "redis_away"}
    told = [(post.message["kind"], post.message["event"]) for post in hook.received]
    assert told.count(("redis_away", "opened")) == 1
    assert told.count(("redis_away", "ended")) == 1


def test_the_database_away_is_said_and_leaves_no_mark_of_an_evaluation(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*anything: object) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(refuse):
        held = evaluate_alerts()

    assert held == -1
    assert "the database does not answer" in caplog.text
    assert client.get(EVALUATED) is None


def test_an_evaluation_whose_sending_dies_leaves_no_mark_for_the_supervisors(client: redis.Redis) -> None:
    def refuse(execute: Callable[..., object], sql: str, *rest: object) -> object:
        if "UPDATE" in sql and Notification._meta.db_table in sql:
            raise OperationalError("the connection was lost")
        return execute(sql, *rest)

    beat(client, damaged_segments=1)
    with connection.execute_wrapper(refuse):
        evaluate_alerts()

    assert client.get(EVALUATED) is None


def test_beat_evaluates_by_the_name_of_the_task(settings: Settings) -> None:
    names = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    assert evaluate_alerts.name in names


def test_what_cannot_be_read_is_said_and_the_rest_is_judged(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.hset(PARKED, "bolt|audit", "nonsense")
    client.set(LEDGER_CHECK, "[]")
    beat(client, damaged_segments=1)

    evaluate_alerts()

    assert set(Incident.objects.values_list("kind", flat=True)) == {"topic_parked", "journal_damaged"}
    assert "is no Parked" in caplog.text


def test_a_pause_between_attempts_grows_up_to_ten_minutes(client: redis.Redis, hook: WebhookReceiver) -> None:
    hook.status = 500
    beat(client, damaged_segments=1)
    evaluate_alerts()
    pauses_s = []
    for _ in range(8):
        try_again_now()
        at = timezone.now()
        notify.send_due(at)
        pauses_s.append((Notification.objects.get(channel="webhook").next_attempt_at - at) / timedelta(seconds=1))

    assert pauses_s[0] == 25
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[-1] == 605


def test_the_command_tries_every_way_and_says_which_failed(hook: WebhookReceiver, mail: MailReceiver) -> None:
    hook.status = 500
    out = StringIO()

    with pytest.raises(CommandError, match="webhook: not sent, it answered 500"):
        call_command("alerts", "test", stdout=out)

    assert out.getvalue() == "e-mail: sent\n"
    assert [letter["Subject"] for letter in mail.received] == ["[Forebay] test"]


def test_a_missing_worker_can_be_forgotten_and_a_living_one_cannot(client: redis.Redis) -> None:
    beat(client, pid=7, silent_s=16)
    beat(client, pid=8)
    evaluate_alerts()

    call_command("alerts", "forget", "n1/7", stdout=StringIO())
    with pytest.raises(CommandError, match="no missing worker n1/8"):
        call_command("alerts", "forget", "n1/8")
    evaluate_alerts()
    evaluate_alerts()

    assert not Incident.objects.filter(ended_at=None).exists()
    assert [status.name for status in workers(client)] == ["n1/8"]


def test_workers_show_what_is_open_and_how_old_that_knowledge_is(client: redis.Redis) -> None:
    beat(client, damaged_segments=1)
    evaluate_alerts()
    client.set(EVALUATED, time.time() - 70)

    show_open_alerts(client)

    assert sample("forebay_alerts_open", kind="journal_damaged") == 1
    assert sample("forebay_alerts_open", kind="disk_filling") == 0
    assert sample("forebay_alerts_evaluation_age_seconds") == pytest.approx(70, abs=10)


def test_workers_show_how_dead_letters_and_notifications_stand(client: redis.Redis, hook: WebhookReceiver) -> None:
    hook.status = 500
    letters(2, status="exhausted")
    beat(client, damaged_segments=1)
    evaluate_alerts()
    evaluate_alerts()
    client.incrby(FAILED_TRIES, 7)

    show_figures(client)

    assert sample("forebay_dead_letters_open", status="exhausted") == 2
    assert sample("forebay_dead_letters_open", status="waiting") == 0
    assert (sample("forebay_dead_letters_oldest_age_seconds") or 0) > 0
    assert sample("forebay_bulk_replays", status="running") == 0
    assert sample("forebay_dead_letter_outcomes", outcome="replayed") == 0
    assert sample("forebay_dead_letter_outcomes", outcome="failed") == 7
    assert sample("forebay_notifications_untaken") == 2


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)
