"""Who watches the watchers: sends the webhook itself when nobody has evaluated the alerts for a while.

Runs beside the supervisor on a thread of its own, because Redis and the webhook may keep it waiting and a dead child
may not. It needs Redis and the network, no database and no Celery: those are what it reports on.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import redis
from django.conf import settings

from ingest.alerts import webhook
from ingest.alerts.kinds import EVALUATED, TITLES, Kind, runbook_link, severity_of

LOOK_S = 5.0
RETRY_AFTER_S = 30.0

log = logging.getLogger(__name__)

Read = Callable[[], object]
Send = Callable[[str, str], None]


class Watch:
    """Whether alerts are evaluated, told to `send` once when not and once when again; each until it gets through.

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
    """Context manager: a thread that looks, where a webhook is configured; else nothing."""

    def __init__(self, redis_url: str, say: Callable[[str], None], look_s: float = LOOK_S) -> None:
        self._say = say
        self._look_s = look_s
        self._redis = _client(redis_url)
        self._watch = Watch(self._read, self._tell, settings.FOREBAY_ALERT_UNWATCHED_S, time.monotonic)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="alert-watch", daemon=True)

    def __enter__(self) -> Self:
        if settings.FOREBAY_ALERT_WEBHOOK_URL:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(settings.FOREBAY_ALERT_TIMEOUT_S + self._look_s)
        self._redis.close()

    def _work(self) -> None:
        while not self._stop.wait(self._look_s):
            self._watch.look()

    def _read(self) -> object:
        try:
            return self._redis.get(EVALUATED)
        except redis.RedisError as error:
            log.debug("Redis does not answer: %s", error)
            return None

    def _tell(self, event: str, value: str) -> None:
        kind, node = Kind.ALERTS_UNWATCHED, settings.FOREBAY_NODE_NAME
        self._say(f"alerts: {TITLES[kind].lower() if event == 'opened' else 'evaluated again'}; telling the webhook")
        message = {
            "event": event,
            "kind": kind,
            "title": TITLES[kind],
            "subject": f"seen by node {node}",
            "severity": severity_of(kind),
            "value": value,
            "runbook": runbook_link(settings.FOREBAY_RUNBOOK_URL, kind),
        }
        url, secret = settings.FOREBAY_ALERT_WEBHOOK_URL, settings.FOREBAY_ALERT_WEBHOOK_SECRET
        webhook.send(url, secret, settings.FOREBAY_ALERT_TIMEOUT_S, message, time.time())


def _client(url: str) -> redis.Redis:
    timeout_s = settings.FOREBAY_REDIS_TIMEOUT_MS / 1000
    return redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
