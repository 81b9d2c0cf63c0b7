"""Rules tried before they are live: on an event that somebody pastes, and on what a tenant has sent lately.

Control plane. An event is checked as the API would check it and routed by the data plane's own code, by the live rules
and by the draft.
"""

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from django.conf import settings
from redis import Redis

from ingest.dataplane.errors import BadRequest
from ingest.dataplane.event import LogEvent, Stamp, check_size, complete, decode_one, encode, event_ids, rfc3339
from ingest.dataplane.explaining import Explanation, explain
from ingest.dataplane.policy import TopicPolicy
from ingest.dataplane.recent import SAMPLE_EVENTS, recent_key
from ingest.dataplane.routing import Route, TenantRouter
from ingest.dead_letters.editing import event_limits
from ingest.dead_letters.routes import defaults
from ingest.rules.facts import Facts, policies_of, policy_of
from tenants.models import Tenant

Topics = dict[str, TopicPolicy]
_MADE = {"event_id": "eventId", "timestamp": "timestamp", "hostname": "hostname", "correlation_id": "correlationId"}
DEFAULT_RULE = "default"


class Tried(NamedTuple):
    """One event by both. `made` names what it came without and got on arrival: it would be different each time."""

    live: Explanation
    draft: Explanation
    made: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        return (self.live.route, self.live.partition) == (self.draft.route, self.draft.partition)


class Way(NamedTuple):
    """A rule and where it sends; two events that go the same way may have different keys."""

    rule: str
    goes_to: str


class Stream(NamedTuple):
    """Of the sample, the events that go one way by the live rules and one by the draft; `source` is one of theirs."""

    live: Way
    draft: Way
    events: int
    source: str


class Sample(NamedTuple):
    """What a tenant sent lately, by both."""

    events: int
    streams: list[Stream]
    most: int = SAMPLE_EVENTS

    @property
    def changed_events(self) -> int:
        return sum(stream.events for stream in self.streams if stream.live != stream.draft)


def event_try(
    *, text: str, tenant: Tenant, address: str, live: Sequence[Facts], draft: Sequence[Facts], topics: Topics
) -> Tried:
    """What each would do with a tenant's event. Raises BadRequest and EventRejected as the API would refuse it."""
    event, made = _arrived(text, tenant.name, address)
    tried = Tried(_explained(event, tenant, live, topics), _explained(event, tenant, draft, topics), made)
    size_bytes = len(encode(event))
    for route in (tried.live.route, tried.draft.route):
        if not route.drop_reason:
            topic = topics.get(route.topic)
            most_bytes = topic.event_max_bytes if topic else settings.FOREBAY_EVENT_MAX_BYTES
            check_size(size_bytes + len(route.key), event_limits(), most_bytes)
    return tried


def recent_try(
    client: Redis, *, tenant: Tenant, live: Sequence[Facts], draft: Sequence[Facts], topics: Topics
) -> Sample:
    """What each would do with the sample of what a tenant has sent. Raises RedisError."""
    blobs: list[bytes] = client.lrange(recent_key(tenant.name), 0, SAMPLE_EVENTS - 1)  # type: ignore[assignment]
    events = [decode_one(blob, 1).events[0] for blob in blobs]
    routers = [
        TenantRouter(tenant.name, tenant.default_delivery, policies_of(rules), topics, defaults())
        for rules in (live, draft)
    ]
    names = [_names(rules) for rules in (live, draft)]
    counts: Counter[tuple[Way, Way]] = Counter()
    sources: dict[tuple[Way, Way], str] = {}
    for event in events:
        was, is_ = (_way(router.route(event), known) for router, known in zip(routers, names, strict=True))
        counts[was, is_] += 1
        sources.setdefault((was, is_), event.source)
    streams = [Stream(*ways, count, sources[ways]) for ways, count in counts.most_common()]
    return Sample(len(events), sorted(streams, key=lambda stream: stream.live == stream.draft))


def _arrived(text: str, tenant: str, address: str) -> tuple[LogEvent, tuple[str, ...]]:
    """As it would be after the pipeline has completed it."""
    try:
        body = text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("malformed_json", str(error)) from None
    if not body.strip():
        raise BadRequest("empty_body", "There is no event: paste one as JSON")
    event: LogEvent = decode_one(body, 1).events[0]
    made = tuple(name for field, name in _MADE.items() if getattr(event, field) is None)
    now_ms = time.time_ns() // 1_000_000
    correlation_id = str(uuid.uuid4())
    complete(
        event, Stamp(tenant, address, correlation_id, "", now_ms, rfc3339(now_ms), event_ids(now_ms)), event_limits()
    )
    return event, made


def _explained(event: LogEvent, tenant: Tenant, rules: Sequence[Facts], topics: Topics) -> Explanation:
    return explain(
        event,
        tenant=tenant.name,
        tenant_delivery=tenant.default_delivery,
        rules=[policy_of(rule) for rule in rules],
        disabled=frozenset(rule["id"] for rule in rules if not rule["enabled"]),
        topics=topics,
        defaults=defaults(),
    )


def _names(rules: Sequence[Facts]) -> dict[int, str]:
    return {0: DEFAULT_RULE, **{rule["id"]: rule["name"] for rule in rules}}


def _way(route: Route, names: dict[int, str]) -> Way:
    goes_to = f"dropped as {route.drop_reason}" if route.drop_reason else route.topic
    return Way(names[route.rule], goes_to)
