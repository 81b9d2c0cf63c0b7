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
from ingest.dataplane.policy import SnapshotFormatError, load, read_header
from ingest.dataplane.recent import BUSIEST_TENANTS
from ingest.topic_watch import TopicWatch, Verifier
from ingest.topics import Verified

log = logging.getLogger(__name__)

PUBLISHED = "forebay:snapshot"


class Builder:
    """Builds when the version or the verified topics move; writes by rename, publishes to Redis."""

    def __init__(
        self, path: Path, client: redis.Redis, topics: Verifier, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._redis = client
        self._topics = TopicWatch(topics, now_s)
        self._names: list[str] = []
        self._former: list[str] = []
        self._built_topics = Verified()
        self._built = (-1, -1)
        self._labelled: tuple[str, ...] = ()
        self._version = -1
        self._is_database_away = False
        self._take_up_file()

    def _take_up_file(self) -> None:
        """Go on from the last file: its topics were verified, and nothing older may follow it."""
        try:
            found = load(self._path.read_bytes())
        except (OSError, SnapshotFormatError):
            return
        self._topics.verified = Verified(found.header.topics, found.header.unusable)
        self._built, self._labelled = found.age_key, found.header.labelled_tenants

    def step(self) -> bool:
        """One look at the version; True if a new snapshot was written."""
        close_old_connections()
        try:
            version = snapshot.current_version()
            if version != self._version:
                self._names, self._former = snapshot.topic_names(), snapshot.former_topic_names()
            verified = self._topics.look(self._names, self._former)
            self._is_database_away = False
            if (version, verified) == (self._version, self._built_topics):
                return False
            blob = snapshot.build(verified.topics, [*self._labelled, *self._busiest()], verified.unusable)
        except DatabaseError as error:
            return self._follow_others(error)
        self._version, self._built_topics = version, verified
        self._write(blob)
        self._publish(blob)
        return True

    def _follow_others(self, error: DatabaseError) -> bool:
        """While the database is away here, another node may still reach it."""
        if not self._is_database_away:
            log.warning("the database does not answer, workers go on with the last snapshot: %s", error)
            self._is_database_away = True
        try:
            blob: bytes | None = self._redis.get(PUBLISHED)  # type: ignore[assignment]  # bytes, as nothing is decoded
            if blob is None or read_header(blob).age_key <= self._built:
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
        header = read_header(blob)
        self._built, self._labelled = header.age_key, header.labelled_tenants

    def _busiest(self) -> list[str]:
        """Tenants by what they have sent. A label once used stays, or its series would seem to end."""
        try:
            most = settings.FOREBAY_METRICS_TOP_TENANTS - 1
            names: list[bytes] = self._redis.zrevrange(BUSIEST_TENANTS, 0, most)  # type: ignore[assignment]  # as below
        except redis.RedisError:
            return []
        return [name.decode() for name in names]

    def _publish(self, blob: bytes) -> None:
        """The highest version wins; two nodes that publish at once build the same."""
        try:
            found: bytes | None = self._redis.get(PUBLISHED)  # type: ignore[assignment]  # as above
            if found is None or read_header(found).age_key < self._built:
                self._redis.set(PUBLISHED, blob)
        except (redis.RedisError, SnapshotFormatError) as error:
            log.debug("snapshot not published: %s", error)
