"""An operator looks into journals without touching them, and puts a file in line again whose journal is lost."""

import json
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ingest import journals
from ingest.dataplane.journal import SETTLE_RESERVE_BYTES, Journal
from tests.unit.dataplane.journal_world import SEGMENT_BYTES, SIZES, keep_ledger, pending, settle_pending, totals
from tests.unit.dataplane.world import NOW_WALL_MS, records


@pytest.fixture
def root(tmp_path: Path, settings: Settings) -> Path:
    settings.FOREBAY_JOURNAL_DIR = tmp_path
    settings.FOREBAY_JOURNAL_SEGMENT_BYTES = SEGMENT_BYTES
    return tmp_path


@pytest.fixture
def journal(root: Path) -> Iterator[Journal]:
    """Of five events two are settled: Acme's 1 and Bolt's 3."""
    made = Journal.create(root, **SIZES)
    _, segment, first = made.append("acme", NOW_WALL_MS, records(3))
    made.append("bolt", NOW_WALL_MS + 1, records(2, "audit", start=3))
    made.settle([(segment, first + 1, 1), (segment, first + 3, 1)])
    yield made
    made.close()


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("journal", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def rows(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments).splitlines() if line.startswith("{")]


def damaged(journal: Journal) -> Path:
    """The file of a journal that was adopted, delivered as far as it could be read, and set aside."""
    segment = journal._segments[0]
    os.pwrite(segment.fd, b"\xff", segment.places[0] + 10)
    journal.close()
    adopted = Journal.adopt(journal.directory, **SIZES)
    settle_pending(adopted)
    keep_ledger(adopted)
    adopted.close()
    (file,) = journal.directory.glob("*.damaged")
    return file


# --- looking ---------------------------------------------------------------------------------------------------------
def test_a_journal_shows_who_holds_it_and_what_waits_in_it_for_whom(journal: Journal) -> None:
    held = journals.look(journal.directory, SEGMENT_BYTES)
    journal.close()
    left = journals.look(journal.directory, SEGMENT_BYTES)

    assert (held.is_held, left.is_held) == (True, False)
    assert dict(held.events) == dict(left.events) == {"acme": 2, "bolt": 1}
    assert {name: held.live_bytes[name] for name in held.events} == {
        name: journal.shares.taken_bytes[name] for name in ("acme", "bolt")
    }
    assert (held.unsettled, held.segments, held.oldest_wall_ms) == (3, 1, NOW_WALL_MS)


def test_the_oldest_is_the_oldest_that_waits(journal: Journal) -> None:
    segment = journal._segments[0]
    journal.settle([(segment, 0, 3)])

    view = journals.look(journal.directory, SEGMENT_BYTES)

    assert view.oldest_wall_ms == NOW_WALL_MS + 1
    assert dict(view.events) == {"bolt": 1}


def open_files_in(directory: Path) -> int:
    """Of this process; others come and go with the threads of other tests."""
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return sum(os.path.realpath(link).startswith(str(directory)) for link in links)


def test_who_looks_changes_nothing_though_a_frame_is_half_written(journal: Journal) -> None:
    segment = journal._segments[0]
    os.pwrite(segment.fd, b"\x40\0\0\0half", segment.size_bytes)
    before = segment.path.read_bytes()
    held = open_files_in(journal.directory)

    view = journals.look(journal.directory, SEGMENT_BYTES)
    waiting = list(journals.waiting(journal.directory, SEGMENT_BYTES))

    assert (view.unsettled, len(waiting)) == (3, 3)
    assert segment.path.read_bytes() == before
    assert open_files_in(journal.directory) == held


def test_what_waits_is_told_oldest_first(journal: Journal) -> None:
    waiting = list(journals.waiting(journal.directory, SEGMENT_BYTES))

    assert [(event.sequence, event.tenant, event.record[3]) for event in waiting] == [
        (0, "acme", b"value-0"),
        (2, "acme", b"value-2"),
        (4, "bolt", b"value-4"),
    ]
    assert [event.accepted_wall_ms for event in waiting] == [NOW_WALL_MS, NOW_WALL_MS, NOW_WALL_MS + 1]


def test_a_directory_that_is_gone_but_for_a_file_set_aside_is_found_and_a_strangers_is_not(
    journal: Journal, root: Path
) -> None:
    (root / "strangers").mkdir()
    file = damaged(journal)

    (found,) = journals.directories(root)

    assert found == journal.directory
    assert journals.look(found, SEGMENT_BYTES).set_aside == [str(file)]
    assert journals.directories(root / "nowhere") == []


# --- in line again ---------------------------------------------------------------------------------------------------
def test_what_can_be_read_of_a_file_is_in_line_again(journal: Journal, root: Path) -> None:
    file = damaged(journal)

    name, events = journals.requeue(file, root, segment_bytes=SEGMENT_BYTES)
    adopted = Journal.adopt(root / name, **SIZES)

    assert events == 2
    assert pending(adopted) == [b"value-3", b"value-4"]
    assert [(accept.tenant, accept.accepted_wall_ms) for _, accept, _ in adopted.backlog()] == [
        ("bolt", NOW_WALL_MS + 1)
    ]
    assert (totals(adopted).accepted, totals(adopted).pending) == (2, 2)
    assert not file.exists()
    assert file.with_suffix(journals.REQUEUED).exists()
    adopted.close()


def test_a_segment_from_elsewhere_stays_where_it_is(journal: Journal, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "saved.segment"
    file.write_bytes(journal._segments[0].path.read_bytes())

    _, events = journals.requeue(file, root, segment_bytes=SEGMENT_BYTES)

    assert events == 5
    assert file.exists()


def test_a_large_file_of_several_tenants_is_in_line_again_whatever_their_shares(root: Path) -> None:
    size = 2 * SETTLE_RESERVE_BYTES
    lost = Journal.create(root / "lost", segment_bytes=size, max_bytes=40 * size)
    lost.append("bolt", NOW_WALL_MS, records(1))
    lost.append("acme", NOW_WALL_MS, [("logs", 0, b"k", bytes(900_000), 0)])
    lost.close()

    _, events = journals.requeue(lost.directory / f"{0:020d}-{0:08d}.segment", root, segment_bytes=SEGMENT_BYTES)

    assert events == 2


def test_a_file_of_something_else_is_refused_and_leaves_no_journal(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.damaged"
    file.write_bytes(b"nothing of ours" * 100)

    with pytest.raises(journals.CannotRequeue):
        journals.requeue(file, root, segment_bytes=SEGMENT_BYTES)

    assert [path for path in root.iterdir() if path.is_dir()] == []
    assert file.exists()


# --- the command -----------------------------------------------------------------------------------------------------
def test_the_list_says_what_an_operator_asks(journal: Journal) -> None:
    told = run("list")
    (row,) = rows("list", "--json")

    assert f"{journal.name}  held by a worker" in told
    assert "3 events wait" in told
    assert "acme: 2 events" in told
    assert (row["journal"], row["unsettled_events"], row["events"]) == (journal.name, 3, {"acme": 2, "bolt": 1})


def test_without_a_journal_the_list_says_so(root: Path) -> None:
    assert "No journal" in run("list")


@pytest.mark.parametrize(
    ("asked", "sequences"),
    [([], [0, 2, 4]), (["--tenant", "bolt"], [4]), (["--topic", "logs"], [0, 2]), (["--max", "1"], [0])],
)
def test_what_waits_is_shown_by_tenant_and_topic(journal: Journal, asked: list[str], sequences: list[int]) -> None:
    shown = rows("show", journal.name[:8], *asked)

    assert [row["sequence"] for row in shown] == sequences
    assert shown[0]["value"] == f"value-{sequences[0]}"


def test_a_journal_that_is_not_there_cannot_be_shown(journal: Journal) -> None:
    with pytest.raises(CommandError, match="0 journals begin with"):
        run("show", "x")


def test_the_command_puts_a_file_in_line_again_or_says_why_not(journal: Journal, tmp_path: Path) -> None:
    told = run("requeue", str(damaged(journal)))

    assert "2 events are in line again" in told
    with pytest.raises(CommandError, match="No such file"):
        run("requeue", str(tmp_path / "nothing"))
