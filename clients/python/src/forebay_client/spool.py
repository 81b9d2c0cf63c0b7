"""Events on the disk that could not be sent yet: append-only files of NDJSON, in a directory of this process alone.

    <directory>/<32 hex digits>/lock           held by flock for as long as its process lives
                               /00000001.ndjson
                               /00000001.sent   how many bytes of it are answered; replaced as a whole

A file is unlinked when all of it is answered. What a dead process left is taken over by the next one that opens a
spool; its last line may be cut, and is left out. Up to one batch may be sent again after a death, under the same
eventIds. It outlives the process, not a power cut: nothing is synced. Any thread; one lock for all of it.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import uuid
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

SEGMENT_MAX_BYTES = 4 << 20


class Batch(NamedTuple):
    """The next unanswered events, and where they end in their file."""

    events: list[bytes]
    segment: Segment
    end: int


class Segment:
    """One file. `size` and `sent` are in bytes, `waiting` in events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = self.sent = self.waiting = 0

    @property
    def sent_path(self) -> Path:
        return self.path.with_suffix(".sent")

    def load(self) -> None:
        """Of a file that another process wrote: what is whole and not answered. Raises OSError, and changes no file."""
        content = self.path.read_bytes()
        self.size = content.rfind(b"\n") + 1
        try:
            self.sent = min(int(self.sent_path.read_text()), self.size)
        except (FileNotFoundError, ValueError):  # nothing was answered, or the note was cut: all of it is sent again
            self.sent = 0
        self.waiting = content.count(b"\n", self.sent)

    def note_sent(self) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(str(self.sent))
        fresh.replace(self.sent_path)

    def unlink(self) -> None:
        # In this order: a note without its file is nothing, a file without its note would be sent again.
        self.path.unlink(missing_ok=True)
        self.sent_path.unlink(missing_ok=True)


class Spool:
    """Opens nothing before it is first used. Methods raise OSError when the disk fails; then nothing is half done."""

    def __init__(self, directory: str | os.PathLike[str], max_bytes: int) -> None:
        if fcntl is None:
            raise ValueError("a spool needs flock, which this system does not have")
        self._root, self._max_bytes = Path(directory), max_bytes
        self.bytes = self.events = 0
        self._lock = threading.Lock()
        self._segments: deque[Segment] = deque()
        self._own: Path | None = None
        self._lock_file: BinaryIO | None = None
        self._tail: BinaryIO | None = None
        self._number = 0

    def append(self, events: Sequence[bytes]) -> bool:
        """Whether there was room for all of them."""
        content = b"".join(event + b"\n" for event in events)
        with self._lock:
            if self.bytes + len(content) > self._max_bytes:
                return False
            tail = self._open_tail(len(content))
            segment = self._segments[-1]
            _write(tail, content, segment.size)
            segment.size += len(content)
            segment.waiting += len(events)
            self.bytes += len(content)
            self.events += len(events)
            return True

    def read(self, max_events: int, max_bytes: int) -> Batch | None:
        """The oldest events that are not answered, one at least; None when there are none."""
        with self._lock:
            while self._segments and not self._segments[0].waiting:
                self._remove_first()
            if not self._segments:
                return None
            segment = self._segments[0]
            events: list[bytes] = []
            end = segment.sent
            with segment.path.open("rb") as file:
                file.seek(end)
                while end < segment.size and len(events) < max_events:
                    line = file.readline()
                    if events and end + len(line) - segment.sent > max_bytes:
                        break
                    events.append(line[:-1])
                    end += len(line)
            return Batch(events, segment, end)

    def answered(self, batch: Batch) -> None:
        """The events of the batch, or of the first part of one, need not be kept any longer."""
        with self._lock:
            segment = batch.segment
            self.bytes -= batch.end - segment.sent
            self.events -= len(batch.events)
            segment.waiting -= len(batch.events)
            segment.sent = batch.end
            if segment.waiting:
                segment.note_sent()
            else:
                self._remove_first()

    def recover(self) -> int:
        """Takes over what dead processes left; returns the number of events."""
        with self._lock:
            before = self.events
            self._close_tail()
            for directory in sorted(self._root.iterdir()) if self._root.is_dir() else ():
                if directory != self._own and directory.is_dir():
                    self._adopt(directory)
            return self.events - before

    def forget_first(self) -> int:
        """Gives up the oldest file, which cannot be read; returns the number of events that are lost with it."""
        with self._lock:
            segment = self._segments.popleft()
            self.bytes -= segment.size - segment.sent
            self.events -= segment.waiting
            if not self._segments:  # somebody may have removed the whole directory
                self._let_go()
            return segment.waiting

    def close(self) -> None:
        """Lets go of the files; what they hold is the next process's."""
        with self._lock:
            own = self._own
            if own is not None and not self._segments:
                shutil.rmtree(own, ignore_errors=True)
            self._let_go()

    def forked(self) -> Spool:
        """In a forked child: a spool of its own. The parent's files are let go of, its lock stays the parent's."""
        self._let_go()
        return Spool(self._root, self._max_bytes)

    def _let_go(self) -> None:
        self._close_tail()
        if self._lock_file is not None:
            self._lock_file.close()
        self._lock_file = self._own = None

    def _close_tail(self) -> None:
        if self._tail is not None:
            self._tail.close()
            self._tail = None

    def _open_tail(self, count: int) -> BinaryIO:
        if self._tail is not None and not os.fstat(self._tail.fileno()).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "somebody removed it", str(self._segments[-1].path))
        if self._tail is not None and self._segments[-1].size + count > SEGMENT_MAX_BYTES:
            self._close_tail()
        if self._tail is None:
            segment = Segment(self._next_path())
            # Unbuffered: what is written is the kernel's, and outlives the process.
            self._tail = segment.path.open("ab", buffering=0)
            self._segments.append(segment)
        return self._tail

    def _remove_first(self) -> None:
        segment = self._segments.popleft()
        if not self._segments:
            self._close_tail()
        segment.unlink()

    def _next_path(self) -> Path:
        if self._own is None:
            own = self._root / uuid.uuid4().hex
            own.mkdir(mode=0o700, parents=True)
            self._lock_file = (own / "lock").open("wb")
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._own = own
        self._number += 1
        return self._own / f"{self._number:08d}.ndjson"

    def _adopt(self, directory: Path) -> None:
        try:
            with (directory / "lock").open("rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for path in sorted(directory.glob("*.ndjson")):
                    self._take_over(Segment(path))
                shutil.rmtree(directory, ignore_errors=True)
        except OSError:  # its process lives, or another one takes it over at this moment
            return

    def _take_over(self, old: Segment) -> None:
        """Moved before what this process appends: it is older."""
        old.load()  # before it is moved: among our own files, one that we do not know of would be lost
        if not old.waiting:
            old.unlink()
            return
        path = self._next_path()
        if old.sent_path.exists():
            old.sent_path.replace(path.with_suffix(".sent"))
        old.path = old.path.replace(path)
        self._segments.append(old)
        self.bytes += old.size - old.sent
        self.events += old.waiting


def _write(file: BinaryIO, content: bytes, size: int) -> None:
    """All of it or nothing: a full disk may take a part."""
    try:
        if file.write(content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        file.truncate(size)
        raise
