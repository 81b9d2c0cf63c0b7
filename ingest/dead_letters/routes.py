"""Where a dead letter goes when it is sent again: where it was meant to go, or where today's rules send it.

Control plane; one instance a sending process. Rules come from the same snapshot that the workers route by, compiled by
the same code; topics are asked of the cluster, for the snapshot knows only those that some rule still names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaError
from django.conf import settings

from ingest.dataplane.errors import BadRequest
from ingest.dataplane.event import LogEvent, decode_one
from ingest.dataplane.faults import Fault
from ingest.dataplane.partitioning import UNASSIGNED
from ingest.dataplane.policy import Snapshot
from ingest.dataplane.routing import Defaults, TenantRouter
from ingest.dataplane.snapshot_file import SnapshotFile
from ingest.models import DeadLetter, ReplayRoute

NOT_AN_EVENT = "not_an_event"
NO_SNAPSHOT = "no_snapshot"
CLUSTER_AWAY = "cluster_away"
_UNKNOWN_TOPIC = KafkaError(KafkaError._UNKNOWN_TOPIC).name()


class Destination(NamedTuple):
    """A topic that exists, a partition or UNASSIGNED, and the key."""

    topic: str
    partition: int
    key: bytes


class Dropped(NamedTuple):
    """Today's rules do not want it any more."""

    reason: str


class Unroutable(NamedTuple):
    """It cannot be sent now, or never; `fault` says which."""

    fault: Fault
    code: str
    detail: str


Choice = Destination | Dropped | Unroutable
Topics = Mapping[str, int] | None
"""The topics of the cluster and their number of partitions; None while it does not answer."""


def defaults() -> Defaults:
    """What the settings say where no rule does."""
    return Defaults(
        topic=settings.FOREBAY_TOPIC_DEFAULT,
        topic_partitions=settings.FOREBAY_TOPIC_PARTITIONS,
        errors_wait_for_ack=settings.FOREBAY_ERRORS_WAIT_FOR_ACK,
    )


class Routes:
    """Chooses by the newest snapshot there is on this node."""

    def __init__(self, snapshot_path: Path) -> None:
        self._file = SnapshotFile(snapshot_path)
        self._snapshot: Snapshot | None = None
        self._routers: dict[str, TenantRouter] = {}

    def choose(self, letter: DeadLetter, topics: Topics) -> Choice:
        """Where a letter goes by the route that was asked for."""
        if letter.replay_route == ReplayRoute.RULES:
            return self.by_rules(letter, topics)
        return _existing(topics, letter.topic, letter.partition, bytes(letter.key))

    def by_rules(self, letter: DeadLetter, topics: Topics) -> Choice:
        """As an event that arrives now would go: topic, partition and key."""
        self._follow()
        if self._snapshot is None:
            return Unroutable(Fault.CLUSTER, NO_SNAPSHOT, "This node has no snapshot of the rules yet")
        event = _event(bytes(letter.value))
        if event is None:
            return Unroutable(Fault.RECORD, NOT_AN_EVENT, "The value is no event that a rule could look at")
        route = self._router(letter.tenant, self._snapshot).route(event)
        if route.drop_reason:
            return Dropped(route.drop_reason)
        return _existing(topics, route.topic, route.partition, route.key)

    def _follow(self) -> None:
        snapshot = self._file.changed()
        if snapshot is not None:
            self._snapshot, self._routers = snapshot, {}

    def _router(self, name: str, snapshot: Snapshot) -> TenantRouter:
        router = self._routers.get(name)
        if router is None:
            tenant = snapshot.tenants.get(name)
            delivery = tenant.delivery if tenant else ""
            router = TenantRouter(name, delivery, snapshot.header.rules, snapshot.topics, defaults())
            self._routers[name] = router
        return router


def _existing(topics: Topics, topic: str, partition: int, key: bytes) -> Choice:
    if topics is None:
        return Unroutable(Fault.CLUSTER, CLUSTER_AWAY, "The cluster does not say which topics it has")
    count = topics.get(topic)
    if count is None:
        return Unroutable(Fault.TOPIC, _UNKNOWN_TOPIC, f"The cluster has no topic {topic}")
    # A topic that was made anew may have fewer partitions than it had.
    return Destination(topic, partition if partition < count else UNASSIGNED, key)


def _event(value: bytes) -> LogEvent | None:
    try:
        event: LogEvent = decode_one(value, 1).events[0]
    except BadRequest:
        return None
    return event
