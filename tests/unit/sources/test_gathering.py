"""Windows of a connection: how they are cut, what a slow peer is told, how large documents take turns."""

import asyncio
from collections.abc import Iterable

import pytest

from ingest.dataplane.errors import StreamEnded
from ingest.protocols.ndjson import LineSplitter
from ingest.sources.gathering import LARGE_BYTES, Gathering, LargeDocuments, Pace
from ingest.sources.interruptible import Interruptible

PACE = Pace(window_events=3, window_s=0.02, document_timeout_s=0.1, idle_timeout_s=0.2)


class Peer:
    """Sends pieces, then breaks, ends, or says nothing more."""

    def __init__(self, pieces: Iterable[bytes], then: str = "silence") -> None:
        self._pieces = list(pieces)
        self._then = then

    async def read(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._then == "break":
            raise StreamEnded("incomplete_body", "broke")
        if self._then == "silence":
            await asyncio.Event().wait()
        return b""


def gathering(peer: Peer, waits: Interruptible | None = None, large: LargeDocuments | None = None) -> Gathering:
    splitter = LineSplitter(max_bytes=1 << 20)
    return Gathering(waits or Interruptible(), peer.read, splitter, PACE, large or LargeDocuments(2, 1), "acme")


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


def test_an_owner_has_its_own_share_of_large_documents_and_waits_for_it() -> None:
    half = b"x" * (LARGE_BYTES + 1)

    async def second_of_owner() -> tuple[str, list[list[bytes]]]:
        large = LargeDocuments(2, 1)
        first = gathering(Peer([half]), large=large)
        held = asyncio.create_task(windows_of(first))
        for _ in range(20):
            await asyncio.sleep(0)
        refused = await windows_of(gathering(Peer([half, b"\n"], "end"), large=large))
        await held
        first.close()
        windows, _ = await windows_of(gathering(Peer([half, b"\n"], "end"), large=large))
        return refused[1], windows

    assert asyncio.run(second_of_owner()) == ("line_timeout", [[half]])
