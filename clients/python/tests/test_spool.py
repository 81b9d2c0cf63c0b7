"""The disk: what is on it is sent later, by whoever comes next, whatever happened to who wrote it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from conftest import MakeClient
from stub import REFUSED, Answer, Asked, Stub, poll_until
from test_buffer import buffer_of
from test_client import adds_up, send_many, settled

from forebay_client import Client, Event, Result
from forebay_client.buffer import Limits
from forebay_client.ledger import Ledger
from forebay_client.spool import Spool
from forebay_client.spooler import Spooler

SPOOL_BYTES = 1 << 20


OpenSpool = Callable[..., Spool]


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[OpenSpool]:
    """In the test's own directory; closed after it."""
    spools: list[Spool] = []

    def opened(max_bytes: int = SPOOL_BYTES) -> Spool:
        spools.append(Spool(tmp_path, max_bytes))
        return spools[-1]

    yield opened
    for spool in spools:
        spool.close()


def events(count: int, size: int = 20) -> list[bytes]:
    return [b'{"n":%0*d}' % (size, at) for at in range(count)]


def drained(spool: Spool, max_events: int = 100) -> list[bytes]:
    found: list[bytes] = []
    while (batch := spool.read(max_events, 1 << 20)) is not None:
        found += batch.events
        spool.answered(batch)
    return found


def test_events_come_back_in_order_and_leave_nothing_behind(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()

    for at in range(0, 1000, 50):
        assert spool.append(events(1000)[at : at + 50])
    held = spool.events, spool.bytes
    found = drained(spool)
    spool.close()

    assert held == (1000, 27_000)
    assert found == events(1000)
    assert (spool.events, spool.bytes) == (0, 0)
    assert list(tmp_path.rglob("*.ndjson")) == []


def test_it_takes_all_or_nothing_within_its_bound(open_spool: OpenSpool) -> None:
    spool = open_spool(1000)

    taken = [spool.append(events(10)) for _ in range(10)]

    assert taken == [True] * 3 + [False] * 7
    assert spool.bytes <= 1000
    assert len(drained(spool)) == 30
    assert spool.append(events(10))


def test_many_files_are_read_one_after_the_other(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool(64 << 20)
    sent = events(400, 60_000)

    for at in range(0, 400, 20):
        assert spool.append(sent[at : at + 20])
    files = len(list(tmp_path.rglob("*.ndjson")))

    assert files > 1
    assert drained(spool) == sent


def written_by_a_process_that_is_killed(directory: Path, code: str) -> None:
    """Runs code with a `spool`, and kills it when it says so."""
    program = subprocess.Popen(
        [sys.executable, "-c", f"import time\nfrom forebay_client.spool import Spool\n{code}\ntime.sleep(60)"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "DIR": str(directory)},
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"done\n"
    program.send_signal(signal.SIGKILL)
    program.wait()
    program.stdout.close()


WRITE = """
import os
spool = Spool(os.environ["DIR"], 1 << 20)
spool.append([b'{"n":%020d}' % at for at in range(100)])
spool.answered(spool.read(40, 1 << 20))
print("done", flush=True)
"""


def test_what_a_killed_process_left_is_taken_over_from_where_it_was(open_spool: OpenSpool, tmp_path: Path) -> None:
    written_by_a_process_that_is_killed(tmp_path, WRITE)
    spool = open_spool()

    recovered = spool.recover()

    assert recovered == 60
    assert spool.append([b'{"n":"later"}'])
    assert drained(spool) == [*events(100)[40:], b'{"n":"later"}']
    assert [path for path in tmp_path.rglob("*") if path.suffix in (".ndjson", ".sent")] == []


def test_a_last_line_that_was_cut_is_left_out(open_spool: OpenSpool, tmp_path: Path) -> None:
    written_by_a_process_that_is_killed(tmp_path, WRITE)
    (file,) = tmp_path.rglob("*.ndjson")
    os.truncate(file, file.stat().st_size - 5)
    spool = open_spool()

    assert spool.recover() == 59
    assert drained(spool) == events(100)[40:99]


def test_a_living_process_keeps_its_own(open_spool: OpenSpool) -> None:
    first, second = open_spool(), open_spool()
    first.append(events(10))

    while_it_lives = second.recover()
    first.close()
    after_it = second.recover()

    assert (while_it_lives, after_it) == (0, 10)


def test_what_cannot_be_taken_over_now_is_left_for_the_next_process(open_spool: OpenSpool, tmp_path: Path) -> None:
    written_by_a_process_that_is_killed(tmp_path, WRITE)
    (note,) = tmp_path.rglob("*.sent")
    aside = note.rename(tmp_path / "aside")
    note.mkdir()  # reading it fails, as it does without a descriptor left
    spool = open_spool()

    recovered = spool.recover()
    spool.close()
    note.rmdir()
    aside.rename(note)

    assert recovered == 0
    assert open_spool().recover() == 60


def test_a_file_that_somebody_removed_when_it_was_answered_is_no_failure(open_spool: OpenSpool) -> None:
    spool = open_spool()
    spool.append(events(10))
    batch = spool.read(10, 1 << 20)
    assert batch is not None

    batch.segment.path.unlink()
    spool.answered(batch)

    assert (spool.events, spool.bytes) == (0, 0)


def test_a_disk_that_takes_only_a_part_gets_none(open_spool: OpenSpool, tmp_path: Path) -> None:
    code = """
import os, resource
spool = Spool(os.environ["DIR"], 1 << 20)
spool.append([b'{"n":%020d}' % at for at in range(100)])
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    spool.append([b'{"n":%020d}' % at for at in range(100)])
except OSError:
    assert spool.events == 100
    print("done", flush=True)
"""
    written_by_a_process_that_is_killed(tmp_path, code)
    spool = open_spool()

    assert spool.recover() == 100
    assert drained(spool) == events(100)


# --- with a client


def test_while_the_server_takes_nothing_events_go_to_the_disk_and_all_arrive_in_order(
    stub: Stub, make_client: MakeClient, tmp_path: Path
) -> None:
    stub.otherwise = REFUSED
    client = make_client(spool_dir=tmp_path, buffer_max_bytes=200_000)

    sent = send_many(client, 400)
    assert poll_until(lambda: client.counters().spool_events == 400)
    sent += send_many(client, 400)
    assert poll_until(lambda: client.counters().spool_events == 800)
    held = client.counters()
    stub.asked.clear()
    stub.otherwise = Answer()
    counters = settled(client)

    assert held.buffered_events == 0
    assert (counters.spooled, counters.accepted, counters.spool_events) == (800, 800, 0)
    assert list(dict.fromkeys(event["eventId"] for event in stub.events)) == sent


def test_while_a_request_hangs_half_of_the_buffer_goes_to_the_disk(
    stub: Stub, make_client: MakeClient, tmp_path: Path
) -> None:
    stub.script = [Answer(delay_s=2)]
    client = make_client(spool_dir=tmp_path, buffer_max_bytes=100_000, batch_max_events=50)
    send_many(client, 1)
    stub.wait_for(1)

    for _ in range(20):
        send_many(client, 50)
        assert poll_until(lambda: client.counters().buffered_bytes <= 60_000)
    counters = settled(client)

    assert counters.dropped == {}
    assert counters.spooled > 0
    assert len({event["eventId"] for event in stub.events}) == 1001 == counters.accepted


def test_what_is_unsent_at_the_end_is_sent_by_the_next_process(
    stub: Stub, make_client: MakeClient, tmp_path: Path
) -> None:
    stub.otherwise = REFUSED
    first, told = make_client(spool_dir=tmp_path, linger_s=60), list[Result]()
    sent = send_many(first, 10)
    event = Event("with a callback")
    first.send_callback(event, told.append)
    first.close(0)
    stub.asked.clear()
    stub.otherwise = Answer()

    second = make_client(spool_dir=tmp_path)
    sent += send_many(second, 1)
    counters = settled(second)

    assert [result.status for result in told] == ["Spooled"]
    assert adds_up(first.counters())
    assert (counters.recovered, counters.accepted) == (11, 12)
    assert [one["eventId"] for one in stub.events] == [*sent[:10], event.event_id, sent[10]]


def test_over_both_bounds_events_are_dropped_and_counted(stub: Stub, make_client: MakeClient, tmp_path: Path) -> None:
    stub.otherwise = REFUSED
    client = make_client(spool_dir=tmp_path, spool_max_bytes=50_000, buffer_max_bytes=50_000, batch_max_events=20)

    send_many(client, 20)
    assert poll_until(lambda: client.counters().spooled > 0)
    for _ in range(100):
        send_many(client, 20)
    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*.ndjson"))
    stub.otherwise = Answer()
    counters = settled(client)

    assert on_disk <= 50_000
    assert counters.dropped["buffer_full"] > 0
    assert counters.accepted + counters.dropped["buffer_full"] == 2020
    assert len({event["eventId"] for event in stub.events}) == counters.accepted


def spooled_behind_a_request(stub: Stub, client: Client) -> tuple[list[str], threading.Event]:
    """Ids of the events sent, of which a part is on the disk, and what lets the request go on that they wait for.

    Until then nothing reads or writes the disk, however long the test takes.
    """
    go_on = threading.Event()

    def answer(asked: Asked) -> Answer:
        go_on.wait(60)
        return Answer()

    stub.answer = answer
    sent = send_many(client, 1)
    stub.wait_for(1)
    sent += send_many(client, 200)
    assert poll_until(lambda: client.counters().spooled > 0 and client.counters().buffered_bytes <= 50_000)
    return sent, go_on


def test_a_directory_that_somebody_removed_loses_what_was_there_and_says_so(
    stub: Stub, make_client: MakeClient, tmp_path: Path
) -> None:
    client = make_client(spool_dir=tmp_path, buffer_max_bytes=100_000, batch_max_events=20, timeout_s=60)
    sent, go_on = spooled_behind_a_request(stub, client)
    lost = client.counters().spool_events

    shutil.rmtree(tmp_path)
    go_on.set()
    counters = settled(client)

    assert counters.dropped == {"spool_lost": lost}
    assert counters.accepted == len(sent) - lost
    assert counters.spool_errors > 0


def test_a_file_that_cannot_be_read_for_a_while_loses_nothing(
    stub: Stub, make_client: MakeClient, tmp_path: Path
) -> None:
    client = make_client(spool_dir=tmp_path, buffer_max_bytes=100_000, batch_max_events=20, timeout_s=60)
    sent, go_on = spooled_behind_a_request(stub, client)
    spooled = client.counters().spool_events

    (file,) = tmp_path.rglob("*.ndjson")
    aside = file.rename(tmp_path / "aside")
    file.mkdir()  # opening it fails, as it does without a descriptor left
    go_on.set()
    assert poll_until(lambda: client.counters().spool_errors > 0)
    held = client.counters()
    file.rmdir()
    aside.rename(file)
    counters = settled(client)

    assert (held.spool_events, held.dropped) == (spooled, {})
    assert (counters.accepted, counters.dropped) == (len(sent), {})
    assert sorted(event["eventId"] for event in stub.events) == sorted(sent)


def test_what_cannot_be_read_is_not_asked_for_at_once_again(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool, buffer = open_spool(), buffer_of(Limits())
    spooler = Spooler(spool, buffer, Ledger(buffer), lambda: True)
    assert spool.append(events(10))
    before_s = spooler.readable_in_s()
    (file,) = tmp_path.rglob("*.ndjson")
    file.unlink()
    file.mkdir()

    assert spooler.read() is None

    assert before_s == 0
    assert spooler.readable_in_s() == pytest.approx(1, abs=0.9)
    assert spool.events == 10


def test_a_disk_that_cannot_be_written_leaves_events_in_memory(
    stub: Stub, make_client: MakeClient, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no directory")
    stub.script = [REFUSED]
    client = make_client(spool_dir=in_the_way)

    send_many(client, 10)
    counters = settled(client)

    assert (counters.accepted, counters.spooled) == (10, 0)
    assert counters.spool_errors > 0


@pytest.mark.parametrize("at_once", [1, 7, 100])
def test_parts_of_what_is_on_the_disk_may_be_answered(open_spool: OpenSpool, at_once: int) -> None:
    spool = open_spool()
    spool.append(events(100))

    assert drained(spool, at_once) == events(100)
