"""How far each file was read: what is known of a file, kept in one JSON file that is replaced whole. One thread.

A file is its content, not its name: where it lies now (device and inode) may change, its beginning and the marks on the
way tell it again. A mark is the digest of the bytes before an offset.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from forebay_client.tail.content import HEAD_BYTES, TAIL_BYTES, Content, digest
from forebay_client.tail.failures import TailError

Place = tuple[int, int]
MARKS_KEPT = 16
_VERSION = 1
# A rotated file may come back compressed days later; after that it is taken for a new one.
FORGOTTEN_AFTER_S = 14 * 86_400


@dataclass
class FileState:
    """One file as far as it is known, whatever its name is at present."""

    file_id: str
    path: str
    """Where it was found first: what its events say."""
    device: int | None
    inode: int | None
    """Both None while nobody knows where the content lies: truncated away, or deleted."""
    offset: int = 0
    """All before it was accepted."""
    head_bytes: int = 0
    head_digest: str = ""
    marks: list[tuple[int, str]] = field(default_factory=list)
    """Ascending, of what was read, which may be more than was accepted: the first one, and others the closer to each
    other the closer to the end. So one of them lies in a copy, too, that was made many reads ago."""
    cuts: list[int] = field(default_factory=list)
    """Offsets beyond `offset` where an event was ended by time, so that it ends there again when it is read again."""
    is_finished: bool = False
    """All of it is accepted and it is gone. A compressed copy that comes later has nothing new."""
    has_moved: bool = False
    """Its content went from `path`, renamed or truncated away: what comes there is another file, even if it says just
    the same."""
    is_truncated_away: bool = False
    """Only a copy of it may be left, made perhaps before all that was read was written."""
    disk_bytes: int = -1
    changed_ns: int = 0
    """Size and modification on the disk when all of it had been read: unchanged, it need not be looked into. Both, for
    an inode may be another file's by now, and as large."""
    seen_wall_s: float = 0.0

    @property
    def place(self) -> Place | None:
        return None if self.device is None or self.inode is None else (self.device, self.inode)

    @place.setter
    def place(self, place: Place | None) -> None:
        self.device, self.inode = place or (None, None)

    def note_deletion(self) -> None:
        """The last mark is enough to know all of it again, and thousands of files that are gone are remembered."""
        self.place, self.marks = None, self.marks[-1:]

    def note_truncation(self) -> None:
        """Only copies may hold it now; what is written at its place is another file's."""
        self.place = None
        self.has_moved = self.is_truncated_away = True

    def mark(self, position: int, tail: bytes) -> None:
        """`tail` is what lies before the position, at most TAIL_BYTES."""
        self.marks = _thinned(sorted({**dict(self.marks), position: digest(tail)}.items()))

    def begins(self, content: Content) -> bool:
        """Whether the content begins as this file does."""
        return bool(self.head_bytes) and digest(content.read(0, self.head_bytes)) == self.head_digest

    def matched_bytes(self, content: Content) -> int | None:
        """Up to where the content is known to be this file's, or None if it is not.

        A copy may have been made before all that was read of the original was written, so of the marks the last one
        that lies within it decides.
        """
        if not self.begins(content):
            return None
        size_bytes = content.size_bytes()
        within = [mark for mark in self.marks if mark[0] <= size_bytes]
        if not self.marks:
            return self.head_bytes
        if not within:
            return None
        position, expected = within[-1]
        at = max(0, position - TAIL_BYTES)
        return position if digest(content.read(at, position - at)) == expected else None

    def may_lie_at(self, path: str) -> bool:
        """Whether a file that is found there may hold this content, or a copy of it."""
        return not (self.has_moved and path == self.path)

    def lies_in(self, content: Content) -> bool:
        """Whether the file at its place is still it: nothing that was read is missing."""
        read_bytes = max([self.offset, *(position for position, _ in self.marks)])
        return self.matched_bytes(content) is not None and content.size_bytes() >= read_bytes


class Checkpoints:
    """All files that are known, in `directory`, which only one process uses at a time.

    Raises TailError, from the start, when another has it, it cannot be written or what it holds cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "checkpoints.json"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TailError(
                f"cannot keep checkpoints in {directory}: {error.strerror}; name another with --state"
            ) from error
        self._lock_or_refuse(directory)
        self.states: list[FileState] = []
        self._generation = 0
        self._load()
        self.is_new = not self.states
        self.is_urgent = False
        """What is known must be on the disk before anything more is sent: an id or a cut depends on it."""

    def add(self, state: FileState) -> None:
        self.states.append(state)

    def next_generation(self) -> int:
        """A number that no file of this directory has had."""
        self._generation += 1
        return self._generation

    def save(self, wall_s: float) -> None:
        """Returns when it is on the disk: the old file or the new one is there, never a part."""
        self.states = [state for state in self.states if not _is_forgotten(state, wall_s)]
        document = {"version": _VERSION, "generation": self._generation, "files": list(map(vars, self.states))}
        # `asdict` and `json.dump` go through Python for each value: of 5,000 known files that is a second of CPU time.
        encoded = json.dumps(document, separators=(",", ":"))
        partial = self._path.with_suffix(".partial")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._path)
            os.fsync(self._directory)
            self.is_urgent = False
        except OSError as error:
            raise TailError(
                f"cannot write {self._path}: {error.strerror}; what was sent since the last checkpoint is sent again,"
                " under the same ids, when there is room"
            ) from error

    def close(self) -> None:
        os.close(self._lock)
        os.close(self._directory)

    def _lock_or_refuse(self, directory: Path) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise TailError(
                f"another `forebay tail` uses {directory}: stop it, or give this one its own directory with --state"
            ) from None

    def _load(self) -> None:
        try:
            document = json.loads(self._path.read_bytes())
            if document["version"] != _VERSION:
                raise ValueError(f"its version is {document['version']}")
            self._generation = int(document["generation"])
            self.states = [_state_of(entry) for entry in document["files"]]
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TailError(
                f"cannot read {self._path} ({error}): without it all files are sent again from their beginning. If that"
                " is what you want, move it away"
            ) from error


def new_state(path: str, of_file: str, place: Place, head: bytes) -> FileState:
    """A file of which nothing was read yet."""
    state = FileState(of_file, path, *place)
    note_head(state, head)
    return state


def note_head(state: FileState, head: bytes) -> None:
    """A file that grows can be told by more of its beginning."""
    state.head_bytes, state.head_digest = len(head[:HEAD_BYTES]), digest(head[:HEAD_BYTES])


def _thinned(marks: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Without the one between the two that lie closest, seen from the end, once there are too many."""
    if len(marks) <= MARKS_KEPT:
        return marks
    end = marks[-1][0]
    gaps = [(after[0] - before[0]) / (end - before[0]) for before, after in zip(marks, marks[2:])]
    least = gaps.index(min(gaps)) + 1
    return marks[:least] + marks[least + 1 :]


def _state_of(entry: dict[str, Any]) -> FileState:
    known = {one.name for one in fields(FileState)}
    state = FileState(**{name: value for name, value in entry.items() if name in known})
    state.marks = [(int(position), str(found)) for position, found in state.marks]
    return state


def _is_forgotten(state: FileState, wall_s: float) -> bool:
    return state.place is None and 0 < state.seen_wall_s < wall_s - FORGOTTEN_AFTER_S
