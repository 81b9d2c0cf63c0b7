"""Who watches the watchers: tells by webhook and e-mail itself when nobody has evaluated the alerts for a while.

Runs beside the supervisor on a thread of its own, because Redis and receivers may keep it waiting and a dead child may
not. It needs Redis and the network, no database and no Celery: those are what it reports on.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import redis
from django.conf import settings

from ingest.alerts import mail, webhook
from ingest.alerts.kinds import EVALUATED, TITLES, Kind, runbook_link, severity_of

LOOK_S = 5.0
RETRY_AFTER_S = 30.0
KIND = Kind.ALERTS_UNWATCHED

log = logging.getLogger(__name__)

Read = Callable[[], object]
Send = Callable[[str, str], None]


class Watch:
    """Whether alerts are evaluated, told to `send` once when not and once when again; each until it gets through. One a
    channel, so that a receiver that is away keeps no other waiting.

    The mark counts as fresh when it has changed, so that no two clocks are compared. Redis away looks like a mark that
    stays. One thread.
    """

    def __init__(self, read: Read, send: Send, unwatched_s: float, now_s: Callable[[], float]) -> None:
        self._read = read
        self._send = send
        self._unwatched_s = unwatched_s
        self._now_s = now_s
        self._mark: object = None
        self._fresh_s = now_s()
        self._retry_s = 0.0
        self._is_told = False

    def look(self) -> None:
        """Once every few seconds."""
        mark = self._read()
        if mark is not None and mark != self._mark:
            self._mark, self._fresh_s = mark, self._now_s()
        age_s = self._now_s() - self._fresh_s
        is_unwatched = age_s >= self._unwatched_s
        if is_unwatched != self._is_told and self._now_s() >= self._retry_s:
            self._tell(is_unwatched, age_s)

    def _tell(self, is_unwatched: bool, age_s: float) -> None:
        value = f"No evaluation for {age_s:.0f} s." if is_unwatched else "Evaluated again."
        try:
            self._send("opened" if is_unwatched else "ended", value)
        except webhook.NotSent as error:
            self._retry_s = self._now_s() + RETRY_AFTER_S
            log.warning("alerts are %sevaluated, and that could not be sent: %s", "not " * is_unwatched, error)
        else:
            self._is_told = is_unwatched


class AlertWatch:
    """Context manager: a thread that looks, where a webhook or an e-mail address is configured; else nothing."""

    def __init__(self, redis_url: str, say: Callable[[str], None], look_s: float = LOOK_S) -> None:
        self._say = say
        self._look_s = look_s
        self._redis = _client(redis_url)
        self._watches = [
            Watch(self._read, send, settings.FOREBAY_ALERT_UNWATCHED_S, time.monotonic) for send in self._senders()
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="alert-watch", daemon=True)

    def __enter__(self) -> Self:
        if self._watches:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(len(self._watches) * settings.FOREBAY_ALERT_TIMEOUT_S + self._look_s)
        self._redis.close()

    def _senders(self) -> list[Send]:
        named = [(settings.FOREBAY_ALERT_WEBHOOK_URL, self._post), (settings.FOREBAY_ALERT_EMAIL_TO, self._mail)]
        return [send for address, send in named if address]

    def _work(self) -> None:
        while not self._stop.wait(self._look_s):
            for watch in self._watches:
                self._look(watch)

    def _look(self, watch: Watch) -> None:
        try:
            watch.look()
        except Exception:  # a defect in one way of telling must not end the other, nor all looking
            log.exception("nobody was told whether alerts are evaluated; it is tried again")

    def _read(self) -> object:
        try:
            return self._redis.get(EVALUATED)
        except redis.RedisError as error:
            log.debug("Redis does not answer: %s", error)
            return None

    def _post(self, event: str, value: str) -> None:
        self._say_that(event, "webhook")
        message = {
            "event": event,
            "kind": KIND,
            "title": TITLES[KIND],
            "subject": _subject(),
            "severity": severity_of(KIND),
            "value": value,
            "runbook": _runbook(),
        }
        url, secret = settings.FOREBAY_ALERT_WEBHOOK_URL, settings.FOREBAY_ALERT_WEBHOOK_SECRET
        webhook.send(url, secret, settings.FOREBAY_ALERT_TIMEOUT_S, message, time.time())

    def _mail(self, event: str, value: str) -> None:
        self._say_that(event, "e-mail")
        about = f"{TITLES[KIND]}: {_subject()}"
        urgency = [] if event == "ended" else [f"Urgency: {severity_of(KIND)}"]
        mail.send(f"{'ended: ' * (event == 'ended')}{about}", [about, value, *urgency, f"What to do: {_runbook()}"])

    def _say_that(self, event: str, channel: str) -> None:
        self._say(f"alerts: {TITLES[KIND].lower() if event == 'opened' else 'evaluated again'}; telling by {channel}")


def _subject() -> str:
    return f"seen by node {settings.FOREBAY_NODE_NAME}"


def _runbook() -> str:
    return runbook_link(settings.FOREBAY_RUNBOOK_URL, KIND)


def _client(url: str) -> redis.Redis:
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    return redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
