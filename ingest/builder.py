"""The snapshot builder: one process a node that turns every committed change of the control plane into a new file.

Control plane (`manage.py snapshot`). It polls one row; the database away, it takes what another node has published to
Redis; Kafka away, the topics it verified last hold on. Workers only ever see whole files, each newer than the last.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import redis
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from ingest import snapshot
from ingest.dataplane.policy import SnapshotFormatError, TopicPolicy, load, read_header
from ingest.topics import KafkaAway, Topics

log = logging.getLogger(__name__)

PUBLISHED = "forebay:snapshot"
# How soon a topic that does not exist yet, or a cluster that did not answer, is asked about again.
RETRY_TOPICS_S = 5.0


class Builder:
    """Builds when the version moves or topics are due; writes by rename, publishes to Redis."""

    def __init__(
        self, path: Path, client: redis.Redis, topics: Topics, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._redis = client
        self._topics = topics
        self._now_s = now_s
        self._verified: tuple[TopicPolicy, ...] = ()
        self._wanted: list[str] = []
        self._verify_at_s = 0.0
        self._built = (-1, -1)
        self._version = -1
        self._is_database_away = False
        self._take_up_file()

    def _take_up_file(self) -> None:
        """Go on from the last file: its topics were verified, and nothing older may follow it."""
        try:
            found = load(self._path.read_bytes())
        except (OSError, SnapshotFormatError):
            return
        self._verified = found.header.topics
        self._built = found.age_key

    def step(self) -> bool:
        """One look at the version; True if a new snapshot was written."""
        close_old_connections()
        try:
            version, names = snapshot.current_version(), None
            if version != self._version:
                names = snapshot.topic_names()
            topics_changed = self._verify(names if names is not None else self._wanted)
            if version == self._version and not topics_changed:
                return False
            blob = snapshot.build(self._verified)
            self._version = version
            self._is_database_away = False
        except DatabaseError as error:
            return self._follow_others(error)
        self._write(blob)
        self._publish(blob)
        return True

    def _verify(self, names: list[str]) -> bool:
        """Verify when the names have changed or it is time; whether the verified topics have changed by that."""
        if names == self._wanted and self._now_s() < self._verify_at_s:
            return False
        before = self._verified
        self._wanted = names
        try:
            self._verified = self._topics.verify(names)
        except KafkaAway as error:
            log.warning("Kafka does not answer, topics stay as they were verified: %s", error)
            self._verify_at_s = self._now_s() + RETRY_TOPICS_S
            return False
        is_complete = len(self._verified) == len(names)
        self._verify_at_s = self._now_s() + (
            settings.FOREBAY_TOPIC_VERIFY_INTERVAL_S if is_complete else RETRY_TOPICS_S
        )
        return self._verified != before

    def _follow_others(self, error: DatabaseError) -> bool:
        """While the database is away here, another node may still reach it."""
        if not self._is_database_away:
            log.warning("the database does not answer, workers go on with the last snapshot: %s", error)
            self._is_database_away = True
        try:
            blob: bytes | None = self._redis.get(PUBLISHED)  # type: ignore[assignment]  # bytes, as nothing is decoded
            if blob is None or _age_key(blob) <= self._built:
                return False
        except (redis.RedisError, SnapshotFormatError):
            return False
        self._write(blob)
        return True

    def _write(self, blob: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(f".{os.getpid()}")
        written.write_bytes(blob)
        written.replace(self._path)
        self._built = _age_key(blob)

    def _publish(self, blob: bytes) -> None:
        """The highest version wins; two nodes that publish at once build the same."""
        try:
            found: bytes | None = self._redis.get(PUBLISHED)  # type: ignore[assignment]  # as above
            if found is None or _age_key(found) < self._built:
                self._redis.set(PUBLISHED, blob)
        except (redis.RedisError, SnapshotFormatError) as error:
            log.debug("snapshot not published: %s", error)


def _age_key(blob: bytes) -> tuple[int, int]:
    header = read_header(blob)
    return (header.version, header.built_wall_ms)
