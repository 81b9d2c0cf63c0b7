"""What the query of GET /api/usage may say, and the whole steps that come of it."""

from datetime import UTC, datetime

import pytest

from ingest.api.usage import parse_window
from ingest.dataplane.errors import BadRequest
from ingest.ledger.usage import Window

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NOON_S = NOON.timestamp()
NOON_MINUTE = int(NOON_S) // 60


def test_without_a_query_it_is_the_last_day_by_the_hour() -> None:
    window = parse_window("", NOON_S + 61)

    assert window == Window(NOON_MINUTE + 60 - 24 * 60, NOON_MINUTE + 60, 60)


def test_times_are_widened_to_whole_steps() -> None:
    window = parse_window("step=minute&from=2030-01-01T12:00:30Z&to=2030-01-01T12:01:01Z", NOON_S)

    assert window == Window(NOON_MINUTE, NOON_MINUTE + 2, 1)


def test_a_plus_sign_in_a_zone_need_not_be_escaped() -> None:
    window = parse_window("from=2030-01-01T13:00:00+01:00&to=2030-01-01T13:00:00Z", NOON_S)

    assert window == Window(NOON_MINUTE, NOON_MINUTE + 60, 60)


@pytest.mark.parametrize(
    "query",
    [
        "step=week",
        "since=2030-01-01T12:00:00Z",
        "from=yesterday",
        "from=2030-01-01T12:00:00",
        "from=2030-01-02T12:00:00Z&to=2030-01-01T12:00:00Z",
        "step=minute&from=2029-12-01T12:00:00Z",
    ],
)
def test_a_query_that_means_nothing_is_refused(query: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_window(query, NOON_S)

    assert refused.value.code == "invalid_query"
