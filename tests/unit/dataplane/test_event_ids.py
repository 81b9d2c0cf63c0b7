"""Ids that are made here: UUIDv7, unique, in the order of their events."""

import subprocess
import sys
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ingest.dataplane.event import event_ids
from tests.unit.dataplane.world import NOW_WALL_MS

ROOT = Path(__file__).resolve().parents[3]


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


FORK = """
import os
from ingest.dataplane.event import event_ids
event_ids(1)()  # the parent has begun to count
if os.fork() == 0:
    print(*(event_ids(1)() for _ in range(50)), flush=True)
else:
    os.wait()
    print(*(event_ids(1)() for _ in range(50)), flush=True)
"""


def test_a_forked_process_makes_ids_of_its_own() -> None:
    # In a process without threads, for with them a fork is not to be trusted.
    printed = subprocess.run([sys.executable, "-c", FORK], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    childs, parents = (set(line.split()) for line in printed.splitlines())
    assert (len(childs), len(parents)) == (50, 50)
    assert not childs & parents
