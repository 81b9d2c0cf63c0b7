"""Notifications go out until somebody has them, and none that cannot be sent keeps another."""

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import OperationalError, connection
from pytest_django import Settings

from ingest.alerts import notify, webhook
from ingest.models import Incident, Notification

pytestmark = pytest.mark.django_db

AT = datetime(2030, 1, 1, tzinfo=UTC)
NOBODY_LISTENS = "http://127.0.0.1:1/hook"


class BreaksOnTheFirst(BaseEmailBackend):
    """A way of sending with a defect that one message meets and another does not."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        if "first" in messages[0].subject:
            raise ZeroDivisionError
        return 1


class DrippingReceiver:
    """Sends a byte of its answer now and then, and never comes to its end."""

    def __enter__(self) -> str:
        self._ended = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}/hook"

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self._listening.close()

    def _drip(self) -> None:
        connection, _ = self._listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self._ended.wait(0.02):
                connection.sendall(b"x")


@pytest.fixture(autouse=True)
def both_channels(settings: Settings) -> None:
    settings.FOREBAY_ALERT_WEBHOOK_URL = NOBODY_LISTENS
    settings.FOREBAY_ALERT_EMAIL_TO = ["oncall@example.com"]
    settings.FOREBAY_ALERT_TIMEOUT_S = 5.0


def due(channel: str, subject: str = "redis", **fields: int) -> Notification:
    incident = Incident.objects.create(
        kind="redis_away", subject=subject, severity="page", value="away", opened_at=AT, last_seen_at=AT
    )
    return incident.notifications.create(channel=channel, event="opened", next_attempt_at=AT, **fields)


def test_one_that_was_tried_for_weeks_keeps_no_other(mailoutbox: list[EmailMessage]) -> None:
    old = due("webhook", attempts=5_000)
    due("email", subject="another")

    sent = notify.send_due(AT)

    old.refresh_from_db()
    assert (sent, len(mailoutbox)) == (1, 1)
    assert (old.attempts, old.next_attempt_at) == (5_001, AT + timedelta(seconds=605))


def test_one_that_meets_a_defect_keeps_no_other(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.BreaksOnTheFirst"
    first, second = due("email", subject="first"), due("email", subject="second")

    sent = notify.send_due(AT)

    first.refresh_from_db()
    second.refresh_from_db()
    assert sent == 1
    assert (first.sent_at, first.last_error) == (None, "a defect: ZeroDivisionError()")
    assert second.sent_at is not None
    assert "ZeroDivisionError" in caplog.text


def test_a_database_that_goes_away_is_for_the_caller_to_say() -> None:
    due("email")

    def refuse(execute: object, sql: str, *anything: object) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
        notify.send_due(AT)


@pytest.mark.parametrize("url", ["http://[::1/hook", "http://host:port/", "ftp://host/", "nonsense", "http://"])
def test_a_url_that_is_none_is_not_sent_to_and_that_is_said(url: str) -> None:
    with pytest.raises(webhook.NotSent):
        webhook.send(url, "", 1.0, {"event": "test"}, 0.0)


def test_a_receiver_that_answers_byte_by_byte_is_not_waited_for() -> None:
    began_s = time.monotonic()
    with DrippingReceiver() as url, pytest.raises(webhook.NotSent, match=r"no answer within 0\.3 s"):
        webhook.send(url, "", 0.3, {"event": "test"}, 0.0)

    assert time.monotonic() - began_s < 5
