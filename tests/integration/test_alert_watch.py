"""The supervisor's watch over the evaluation, with a real Redis and a web server that gets the news."""

import threading
import time

import redis
from pytest_django import Settings

from forebay.local.alert_watch import AlertWatch
from ingest.alerts.kinds import EVALUATED
from tests.programs import poll_until
from tests.receivers import MailReceiver, WebhookReceiver
from tests.services import RedisServer

DEADLINE_S = 20.0


def test_the_watch_tells_when_redis_dies_and_when_evaluations_go_on(own_redis: RedisServer, settings: Settings) -> None:
    said: list[str] = []
    with WebhookReceiver() as hook:
        settings.FOREBAY_ALERT_WEBHOOK_URL = hook.url
        settings.FOREBAY_ALERT_UNWATCHED_S, settings.FOREBAY_NODE_NAME = 0.5, "n1"

        def told() -> list[str]:
            return [post.message["event"] for post in hook.received]

        with AlertWatch(own_redis.url, said.append, look_s=0.05):
            own_redis.kill()
            assert poll_until(lambda: told() == ["opened"], DEADLINE_S)
            own_redis.start()
            with redis.Redis.from_url(own_redis.url) as client:
                client.set(EVALUATED, time.time())
                assert poll_until(lambda: told()[:2] == ["opened", "ended"], DEADLINE_S)

    opened = hook.received[0].message
    assert (opened["kind"], opened["subject"], opened["severity"]) == ("alerts_unwatched", "seen by node n1", "page")
    assert opened["runbook"].endswith("runbook.md#alerts_unwatched")
    assert said[0] == "alerts: nobody evaluates the alerts; telling by webhook"


def test_where_only_mail_is_configured_the_watch_tells_by_mail(own_redis: RedisServer, settings: Settings) -> None:
    with MailReceiver() as mail:
        settings.FOREBAY_ALERT_WEBHOOK_URL, settings.FOREBAY_ALERT_EMAIL_TO = "", ["oncall@example.com"]
        settings.FOREBAY_ALERT_UNWATCHED_S, settings.FOREBAY_NODE_NAME = 0.5, "n1"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mail.port

        with AlertWatch(own_redis.url, print, look_s=0.05):
            own_redis.kill()
            assert poll_until(lambda: len(mail.received) == 1, DEADLINE_S)
            own_redis.start()
            with redis.Redis.from_url(own_redis.url) as client:
                client.set(EVALUATED, time.time())
                assert poll_until(lambda: len(mail.received) >= 2, DEADLINE_S)

    assert [letter["Subject"] for letter in mail.received[:2]] == [
        "[Forebay] Nobody evaluates the alerts: seen by node n1",
        "[Forebay] ended: Nobody evaluates the alerts: seen by node n1",
    ]
    assert "runbook.md#alerts_unwatched" in mail.received[0].get_payload()


def test_a_webhook_that_is_away_does_not_keep_the_mail(own_redis: RedisServer, settings: Settings) -> None:
    with MailReceiver() as mail:
        settings.FOREBAY_ALERT_WEBHOOK_URL = "http://127.0.0.1:1/hook"
        settings.FOREBAY_ALERT_EMAIL_TO, settings.FOREBAY_ALERT_UNWATCHED_S = ["oncall@example.com"], 0.1
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mail.port

        with AlertWatch(own_redis.url, print, look_s=0.05):
            assert poll_until(lambda: len(mail.received) == 1, DEADLINE_S)


def test_where_nobody_is_to_be_told_nothing_is_watched(settings: Settings) -> None:
    settings.FOREBAY_ALERT_WEBHOOK_URL, settings.FOREBAY_ALERT_EMAIL_TO = "", []

    with AlertWatch("redis://127.0.0.1:1/0", print):
        watching = [thread.name for thread in threading.enumerate()]

    assert "alert-watch" not in watching
