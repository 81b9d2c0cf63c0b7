"""Rules decide in their order where an event goes; the default takes the rest; what is dropped has a reason."""

from dataclasses import replace
from typing import Any

import pytest

from ingest.dataplane.event import LogEvent
from ingest.dataplane.partitioning import UNASSIGNED, Partitioning, murmur2
from ingest.dataplane.policy import RulePolicy, TopicPolicy
from ingest.dataplane.routing import REMEMBERED_ROUTES, Route, TenantRouter
from tests.unit.dataplane.world import DEFAULTS, TOPIC, completed, rule

TOPICS = {
    "logs": TOPIC,
    "audit": TopicPolicy("audit", partitions=3, event_max_bytes=1 << 20),
    "errors": TopicPolicy("errors", partitions=1, event_max_bytes=1 << 20),
}


def router(*rules: RulePolicy, tenant: str = "acme", delivery: str = "async", **defaults: Any) -> TenantRouter:
    return TenantRouter(tenant, delivery, rules, TOPICS, replace(DEFAULTS, **defaults))


def routed(event: LogEvent, *rules: RulePolicy, **options: Any) -> Route:
    return router(*rules, **options).route(event)


# --- which rule ------------------------------------------------------------------------------------------------------
def test_without_a_rule_the_default_topic_takes_it_errors_first() -> None:
    info, error = routed(completed()), routed(completed(level="ERROR"))

    assert info == Route("logs", 1 + (murmur2(b"checkout") & 0x7FFFFFFF) % 11, b"checkout", "async", "", 0)
    assert error == Route("logs", 0, b"checkout", "async", "", 0)


def test_the_first_rule_that_matches_decides() -> None:
    rules = [rule("audit", source_glob="pay*"), rule("errors", source_glob="*"), rule("logs")]

    assert routed(completed(source="payment"), *rules).topic == "audit"
    assert routed(completed(source="checkout"), *rules).topic == "errors"


@pytest.mark.parametrize(
    ("glob", "source", "matches"),
    [
        ("", "checkout", True),
        ("*", "checkout", True),
        ("check*", "checkout", True),
        ("check*", "my-checkout", False),
        ("*out", "checkout", True),
        ("c?eckout", "checkout", True),
        ("c[gh]eckout", "checkout", True),
        ("c[!h]eckout", "checkout", False),
        ("Checkout", "checkout", False),
        ("checkout", "checkout\n", False),
        ("check.ut", "checkout", False),
        ("a*", "a\nb", True),
    ],
)
def test_a_source_is_matched_as_a_whole_by_a_glob(glob: str, source: str, matches: bool) -> None:
    topic = routed(completed(source=source), rule("audit", source_glob=glob)).topic

    assert topic == ("audit" if matches else "logs")


def test_levels_are_matched_in_their_canonical_form() -> None:
    only_errors = rule("audit", levels=("ERROR", "FATAL"))

    assert routed(completed(level="critical"), only_errors).topic == "audit"
    assert routed(completed(level="warning"), only_errors).topic == "logs"


def test_a_rule_of_one_tenant_is_not_anothers() -> None:
    acmes = rule("audit", tenants=("acme",))

    assert routed(completed(), acmes, tenant="acme").topic == "audit"
    assert routed(completed(), acmes, tenant="bolt").topic == "logs"


@pytest.mark.parametrize(
    ("glob", "metadata", "matches"),
    [
        ("", {"region": "eu"}, True),
        ("", {"region": None}, True),
        ("", {"zone": "eu"}, False),
        ("", {}, False),
        ("", None, False),
        ("eu*", {"region": "eu-west"}, True),
        ("eu*", {"region": "us-east"}, False),
        ("17", {"region": 17}, True),
        ("true", {"region": True}, True),
        ("null", {"region": None}, True),
        ("1.5", {"region": 1.5}, True),
    ],
)
def test_metadata_is_matched_by_name_and_value(glob: str, metadata: dict[str, Any] | None, matches: bool) -> None:
    route = routed(completed(metadata=metadata), rule("audit", metadata_field="region", metadata_glob=glob))

    assert route.topic == ("audit" if matches else "logs")


# --- what the rule says ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ((), b""),
        (("source",), b"checkout"),
        (("level",), b"INFO"),
        (("hostname",), b"192.0.2.7"),
        (("correlationId",), b"c-1"),
        (("eventId",), b"e-1"),
        (("metadata.order",), b"17"),
        (("metadata.nothing",), b""),
        (("source", "metadata.order"), b"checkout\x1f17"),
    ],
)
def test_a_key_is_made_of_the_fields_that_the_rule_names(fields: tuple[str, ...], key: bytes) -> None:
    event = completed(event_id="e-1", metadata={"order": 17})

    assert routed(event, rule("audit", key=fields)).key == key


def test_the_fields_of_a_composite_key_do_not_run_together() -> None:
    two = rule("audit", key=("source", "hostname"))

    first = routed(completed(source="ab", hostname="c"), two).key
    second = routed(completed(source="a", hostname="bc"), two).key

    assert first != second


def test_a_hashed_key_leaves_the_partition_to_librdkafka() -> None:
    assert routed(completed(), rule("audit")).partition == UNASSIGNED


def test_round_robin_goes_over_the_partitions_of_its_topic() -> None:
    turning = router(rule("audit", partitioning=Partitioning.ROUND_ROBIN))

    assert [turning.route(completed()).partition for _ in range(5)] == [0, 1, 2, 0, 1]


def test_severity_first_uses_the_partitions_that_the_topic_has() -> None:
    by_severity = rule("audit", partitioning=Partitioning.SEVERITY_FIRST)
    others = {routed(completed(source=f"s-{number}"), by_severity).partition for number in range(50)}

    assert routed(completed(level="FATAL"), by_severity).partition == 0
    assert others == {1, 2}
    assert routed(completed(), rule("errors", partitioning=Partitioning.SEVERITY_FIRST)).partition == 0


@pytest.mark.parametrize(("of_rule", "of_tenant", "delivery"), [("", "ack", "ack"), ("async", "ack", "async")])
def test_a_rule_overrides_the_tenants_delivery(of_rule: str, of_tenant: str, delivery: str) -> None:
    assert routed(completed(), rule("audit", delivery=of_rule), delivery=of_tenant).delivery == delivery


def test_one_switch_makes_errors_of_the_default_rule_wait_for_the_ack() -> None:
    waiting = router(rule("audit", source_glob="pay*"), errors_wait_for_ack=True)

    assert waiting.route(completed(level="ERROR")).delivery == "ack"
    assert waiting.route(completed(level="FATAL")).delivery == "ack"
    assert waiting.route(completed(level="WARN")).delivery == "async"
    assert waiting.route(completed(source="payment", level="ERROR")).delivery == "async"


def test_what_a_rule_drops_has_its_reason_and_no_topic() -> None:
    route = routed(completed(level="DEBUG"), rule("", levels=("DEBUG",), drop_reason="noise"), rule("audit"))

    assert (route.topic, route.drop_reason) == ("", "noise")


def test_sampling_keeps_its_share_and_calls_the_rest_sampled() -> None:
    quarter = router(rule("audit", keep_ratio=0.25))

    routes = [quarter.route(completed(event_id=f"order-{number}")) for number in range(4_000)]

    kept = [route for route in routes if not route.drop_reason]
    assert {route.drop_reason for route in routes} == {"", "sampled"}
    assert {route.topic for route in kept} == {"audit"}
    assert 850 < len(kept) < 1_150


def test_an_event_that_is_sent_again_shares_its_first_fate() -> None:
    first, after_a_restart = router(rule("audit", keep_ratio=0.5)), router(rule("audit", keep_ratio=0.5))

    for number in range(100):
        sent = completed(event_id=f"order-{number}")
        assert first.route(sent) == first.route(sent) == after_a_restart.route(sent)


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 0), (1.0, 100)])
def test_the_ends_of_sampling_are_exact(ratio: float, kept: int) -> None:
    sampler = router(rule("audit", keep_ratio=ratio))

    routes = [sampler.route(completed(event_id=f"order-{number}")) for number in range(100)]

    assert sum(not route.drop_reason for route in routes) == kept


def test_a_dropping_rule_does_not_sample() -> None:
    dropping = router(rule("", drop_reason="noise", keep_ratio=0.0))

    assert dropping.route(completed()).drop_reason == "noise"


# --- what is remembered ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rules", "is_remembered"),
    [
        ([], True),
        ([rule("audit", source_glob="check*", levels=("INFO",))], True),
        ([rule("audit", key=())], True),
        ([rule("", drop_reason="noise")], True),
        ([rule("audit", source_glob="pay*", metadata_field="region")], True),
        ([rule("audit", metadata_field="region")], False),
        ([rule("audit", key=("hostname",))], False),
        ([rule("audit", key=("source", "hostname"))], False),
        ([rule("audit", keep_ratio=0.5)], False),
        ([rule("audit", partitioning=Partitioning.ROUND_ROBIN)], False),
    ],
)
def test_a_route_is_remembered_where_source_and_level_alone_decide(
    rules: list[RulePolicy], is_remembered: bool
) -> None:
    made = router(*rules)

    made.route(completed())

    assert (("checkout", "INFO") in made.remembered) is is_remembered


def test_a_tenant_that_invents_sources_does_not_fill_the_memory() -> None:
    made = router()

    for number in range(REMEMBERED_ROUTES + 10):
        made.route(completed(source=f"s-{number}"))

    assert 0 < len(made.remembered) <= REMEMBERED_ROUTES


def test_a_topic_nobody_has_verified_is_routed_to_all_the_same() -> None:
    route = routed(completed(), rule("not-yet", partitioning=Partitioning.SEVERITY_FIRST))

    assert route.topic == "not-yet"
    assert 1 <= route.partition < DEFAULTS.topic_partitions
