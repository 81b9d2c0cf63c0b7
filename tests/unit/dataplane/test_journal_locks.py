"""Unit: a journal has one owner, whoever else tries and whenever."""

import fcntl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.dataplane.journal import Journal
from ingest.dataplane.journal_lock import LOCK_NAME, JournalLocked, is_held, orphans
from tests.unit.dataplane.journal_world import SIZES, keep_ledger, pending, settle_pending
from tests.unit.dataplane.world import records

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.create(tmp_path, **SIZES)
    yield made
    made.close()


def test_nobody_adopts_a_journal_whose_owner_lives(journal: Journal) -> None:
    journal.append("acme", 1, records(1))

    with pytest.raises(JournalLocked):
        Journal.adopt(journal.directory, **SIZES)


def test_who_asks_at_the_same_time_is_not_taken_for_the_owner(journal: Journal) -> None:
    journal.append("acme", 1, records(1))
    owned = is_held(journal.directory)
    journal.close()
    with (journal.directory / LOCK_NAME).open("r+") as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)  # as is_held() does for a moment
        left = is_held(journal.directory)

    assert (owned, left) == (True, False)


def test_no_other_process_gets_the_lock_before_the_owner_is_gone(journal: Journal) -> None:
    journal.append("acme", 1, records(1))
    program = (
        "import sys; from pathlib import Path; from ingest.dataplane.journal import Journal\n"
        "print(Journal.adopt(Path(sys.argv[1]), segment_bytes=1 << 21, max_bytes=1 << 22).pending)"
    )

    def adopt_elsewhere() -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", program, str(journal.directory)]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    refused = adopt_elsewhere()
    journal.close()
    adopted = adopt_elsewhere()

    assert "JournalLocked" in refused.stderr
    assert adopted.stdout == "1\n"


def test_of_many_adopters_at_once_one_gets_the_journal(tmp_path: Path) -> None:
    for _ in range(20):
        journal = Journal.create(tmp_path, **SIZES)
        journal.append("acme", 1, records(1))
        journal.close()

        adopted = race(lambda directory=journal.directory: Journal.adopt(directory, **SIZES))  # type: ignore[misc]

        assert [pending(one) for one in adopted] == [[b"value-0"]]
        settle_pending(adopted[0])
        keep_ledger(adopted[0])
        adopted[0].close()


def test_nobody_adopts_a_journal_in_the_moment_it_is_made(tmp_path: Path) -> None:
    stop = threading.Event()
    stolen: list[Journal] = []

    def steal() -> None:
        while not stop.is_set():
            for directory in orphans(tmp_path):
                try:
                    stolen.append(Journal.adopt(directory, **SIZES))
                except (JournalLocked, FileNotFoundError):
                    continue

    thief = threading.Thread(target=steal)
    thief.start()
    made = [Journal.create(tmp_path, **SIZES) for _ in range(200)]
    stop.set()
    thief.join()

    assert stolen == []
    for journal in made:
        journal.append("acme", 1, records(1))
        journal.close()


def test_nobody_adopts_a_journal_that_its_adopter_has_just_finished(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Between opening the lock and taking it, another adopter may take it, finish, and remove the directory."""
    interval_s = sys.getswitchinterval()
    request.addfinalizer(lambda: sys.setswitchinterval(interval_s))
    sys.setswitchinterval(1e-6)
    ghosts: list[Path] = []

    def adopt_and_finish(directory: Path) -> Journal:
        adopted = Journal.adopt(directory, **SIZES)
        if not directory.exists():
            ghosts.append(directory)
        settle_pending(adopted)
        keep_ledger(adopted)
        adopted.close()
        return adopted

    for _ in range(150):
        journal = Journal.create(tmp_path, **SIZES)
        journal.append("acme", 1, records(1))
        journal.close()
        race(lambda directory=journal.directory: adopt_and_finish(directory), threads=4)  # type: ignore[misc]

    assert ghosts == []
    assert orphans(tmp_path) == []


def test_a_journal_that_cannot_be_opened_is_not_kept_locked(journal: Journal) -> None:
    journal.append("acme", 1, records(1))
    journal.close()
    stranger = journal.directory / "backup-of-yesterday.segment"
    stranger.write_bytes(b"")

    with pytest.raises(ValueError, match="backup"):
        Journal.adopt(journal.directory, **SIZES)

    stranger.unlink()
    assert pending(Journal.adopt(journal.directory, **SIZES)) == [b"value-0"]


def race(attempt: Callable[[], Journal], threads: int = 8) -> list[Journal]:
    barrier, won = threading.Barrier(threads), list[Journal]()

    def run() -> None:
        barrier.wait()
        try:
            won.append(attempt())
        except (JournalLocked, FileNotFoundError):
            return

    runners = [threading.Thread(target=run) for _ in range(threads)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    return won
