"""Ids that are made here: UUIDv7, unique, in the order of their events."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.event import event_ids
from tests.unit.dataplane.world import NOW_WALL_MS


@given(st.integers(min_value=0, max_value=(1 << 48) - 1))
def test_an_id_is_a_uuid_of_version_7_with_its_time(wall_ms: int) -> None:
    made = event_ids(wall_ms)()

    parsed = UUID(made)
    assert str(parsed) == made
    assert (parsed.version, parsed.variant) == (7, "specified in RFC 4122")
    assert parsed.int >> 80 == wall_ms


def test_the_ids_of_a_request_sort_as_they_were_made() -> None:
    new_id = event_ids(NOW_WALL_MS)

    made = [new_id() for _ in range(10_000)]

    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {UUID(one).version for one in made} == {7}


def test_requests_of_one_millisecond_share_no_id() -> None:
    requests = [event_ids(NOW_WALL_MS) for _ in range(2_000)]

    made = [new_id() for new_id in requests for _ in range(5)]

    assert len(set(made)) == len(made)


def test_ids_of_a_later_millisecond_sort_behind() -> None:
    earlier, later = event_ids(NOW_WALL_MS), event_ids(NOW_WALL_MS + 1)

    assert max(earlier() for _ in range(1_000)) < later()
