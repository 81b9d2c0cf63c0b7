"""Who is limited by what: refusals are counted by tenant and limit, and taken once."""

from ingest.dataplane.errors import Throttled
from ingest.dataplane.throttles import Throttles


def refusal(tenant: str, scope: str = "tenant", what: str = "events_per_s") -> Throttled:
    refused = Throttled("quota_exceeded", "used up", retry_after_s=1.0, scope=scope, what=what)
    refused.tenant = tenant
    return refused


def test_refusals_are_counted_by_tenant_and_limit() -> None:
    throttles = Throttles()

    throttles.add(refusal("bolt"))
    throttles.add(refusal("bolt"))
    throttles.add(refusal("bolt", "key", "events_per_day"))
    throttles.add(refusal("", "address", "requests_per_s"))

    assert throttles.take() == {
        ("bolt", "tenant events_per_s"): 2,
        ("bolt", "key events_per_day"): 1,
        ("", "address requests_per_s"): 1,
    }


def test_what_was_taken_is_not_taken_again() -> None:
    throttles = Throttles()
    throttles.add(refusal("bolt"))
    throttles.take()

    throttles.add(refusal("acme"))

    assert throttles.take() == {("acme", "tenant events_per_s"): 1}
    assert throttles.take() == {}
