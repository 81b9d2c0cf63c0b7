"""Windows of a connection: how they are cut, what a slow peer is told, how large documents take turns."""

import asyncio
import contextlib
from collections.abc import Iterable

import pytest

from ingest.dataplane.errors import StreamEnded
from ingest.protocols.ndjson import LineSplitter
from ingest.sources.gathering import LARGE_BYTES, Gathering, LargeDocuments, Pace
from ingest.sources.interruptible import Interruptible

PACE = Pace(window_events=3, window_s=0.02, document_timeout_s=0.1, idle_timeout_s=0.2)
DEADLINE_S = 20.0


class Peer:
    """Sends pieces, then breaks, ends, or says nothing more."""

    def __init__(self, pieces: Iterable[bytes], then: str = "silence") -> None:
        self._pieces = list(pieces)
        self._then = then

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        if self._pieces:
            return self._pieces.pop(0)
        if self._then == "break":
            raise StreamEnded("incomplete_body", "broke")
        if self._then == "silence":
            await asyncio.Event().wait()
        return b""


def gathering(
    peer: Peer,
    waits: Interruptible | None = None,
    large: LargeDocuments | None = None,
    *,
    pace: Pace = PACE,
    owner: str = "acme",
) -> Gathering:
    splitter = LineSplitter(max_bytes=1 << 20)
    return Gathering(waits or Interruptible(), peer.read, splitter, pace, large or LargeDocuments(2, 1), owner)


async def windows_of(found: Gathering) -> tuple[list[list[bytes]], str]:
    """All of them, and how it ended."""
    windows = []
    try:
        while window := await found.window():
            windows.append(window)
    except StreamEnded as ended:
        return windows, ended.code
    return windows, "end"


@pytest.mark.parametrize(
    ("pieces", "then", "windows", "ending"),
    [
        ([b"1\n2\n3\n4\n5\n"], "end", [[b"1", b"2", b"3"], [b"4", b"5"]], "end"),
        ([b"1\n2"], "end", [[b"1", b"2"]], "end"),
        ([b"1\n2"], "break", [[b"1"]], "incomplete_body"),
        ([b"1\n"], "silence", [[b"1"]], "idle_timeout"),
        ([b"1\n2"], "silence", [[b"1"]], "line_timeout"),
        ([], "end", [], "end"),
    ],
)
def test_windows_are_cut_by_number_time_and_end(
    pieces: list[bytes], then: str, windows: list[list[bytes]], ending: str
) -> None:
    found = asyncio.run(windows_of(gathering(Peer(pieces, then))))

    assert found == (windows, ending)


def test_whoever_is_told_to_end_ends_at_once_though_its_peer_is_silent() -> None:
    async def ended() -> str:
        waits = Interruptible()
        window = asyncio.create_task(windows_of(gathering(Peer([]), waits)))
        await asyncio.sleep(0)
        waits.end(StreamEnded("go_elsewhere", "away"))
        return (await window)[1]

    assert asyncio.run(ended()) == "go_elsewhere"


HALF = b"x" * (LARGE_BYTES + 1)
BULK = b"line of bulk\n" * (LARGE_BYTES // 13)


async def passed() -> None:
    """What the loop has to do is done."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_an_owner_has_its_own_share_of_large_documents_and_waits_for_it_as_long_as_it_takes() -> None:
    async def second_of_owner() -> tuple[bool, list[bytes]]:
        large = LargeDocuments(2, 1)
        first = gathering(Peer([HALF]), large=large)
        with contextlib.suppress(StreamEnded):
            await first.window()  # holds its place until it is closed
        window = asyncio.create_task(gathering(Peer([HALF, b"\n"]), large=large).window())
        await asyncio.wait([window], timeout=3 * PACE.document_timeout_s)
        waited = not window.done()
        first.close()
        return waited, await asyncio.wait_for(window, DEADLINE_S)

    assert asyncio.run(second_of_owner()) == (True, [HALF])


def test_whoever_waits_for_a_quota_with_a_large_document_does_not_take_the_place_of_other_owners() -> None:
    async def stranger_beside_full_house() -> list[bytes]:
        large = LargeDocuments(4, 2)
        for owner in ("a", "a", "b", "b"):
            throttled = gathering(Peer([*[HALF] * 5, b"\n"]), large=large, owner=owner)
            assert await throttled.window() == [HALF * 5]  # and nobody takes it in
        stranger = gathering(Peer([HALF, b"\n"]), large=large, owner="stranger")
        return await asyncio.wait_for(stranger.window(), DEADLINE_S)

    assert asyncio.run(stranger_beside_full_house()) == [HALF]


def test_a_window_is_smaller_where_its_owner_holds_all_that_it_may() -> None:
    pace = PACE._replace(window_events=1_000_000)

    async def windows() -> list[int]:
        large = LargeDocuments(2, 1)
        held = [gathering(Peer([BULK] * 10), large=large, pace=pace) for _ in range(3)]
        return [sum(map(len, await one.window())) for one in held]

    first, *others = asyncio.run(windows())

    assert first > 3 * LARGE_BYTES
    assert all(LARGE_BYTES // 2 < bytes_ <= 2 * LARGE_BYTES for bytes_ in others)


def test_full_windows_give_way_to_a_document_of_their_owner_that_waits() -> None:
    pace = PACE._replace(window_events=1_000_000)

    async def bulk_beside_document() -> tuple[list[int], list[bytes]]:
        large = LargeDocuments(2, 1)
        bulk = gathering(Peer([BULK] * 100), large=large, pace=pace)
        sizes = [sum(map(len, await bulk.window()))]
        document = asyncio.create_task(gathering(Peer([HALF, b"\n"]), large=large).window())
        await passed()
        sizes += [sum(map(len, await bulk.window())) for _ in range(5)]
        return sizes, await asyncio.wait_for(document, DEADLINE_S)

    (first, *others), document = asyncio.run(bulk_beside_document())

    assert first > 3 * LARGE_BYTES
    assert all(bytes_ <= 2 * LARGE_BYTES for bytes_ in others)
    assert document == [HALF]


class _Loop(asyncio.SelectorEventLoop):
    """Its clock can be put forward."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


def test_a_line_is_not_late_for_the_time_in_which_we_did_not_read() -> None:
    pace = PACE._replace(window_events=1, document_timeout_s=DEADLINE_S)
    loop = _Loop()

    async def throttled() -> tuple[list[bytes], list[bytes]]:
        found = gathering(Peer([b"a\nb", b"c\n"]), pace=pace)
        first = await found.window()
        loop.ahead_s = 3_600.0  # its quota is used up so long
        return first, await found.window()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(throttled()) == ([b"a"], [b"bc"])
