"""Which files there are, and which of them are known: by place, and by content where the place has changed.

A rotated file keeps its inode, or is copied, or compressed, while its name goes to another one. So a file that is new
to us is compared with those that we know before it is read:

- one that is alike so far, and still there: a copy is being made of it. Wait.
- one that is gone, or was truncated away: this is where its content went. Go on there, where we had come to.
- none: a new file, read from its beginning.

Files may say the same and be no copies: the short logs of a job, the banner of a program. So a copy of one that is
there is looked for only among the names that a rotation gives, and a short file is known again only by such a name.

One thread.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Callable

from forebay_client.tail.checkpoints import Checkpoints, FileState, Place, new_state
from forebay_client.tail.content import HEAD_BYTES, Content, content_of, same_so_far
from forebay_client.tail.events import file_id
from forebay_client.tail.options import Input, Options
from forebay_client.tail.places import Found, Look, Places, are_named_alike, status_of, stem
from forebay_client.tail.reader import FileReader


@dataclass
class Candidate:
    """An open file of which is not decided whose content it has."""

    path: str
    place: Place
    kind: Input
    content: Content
    only_known: bool = False
    """No glob matches it: it is read only if it holds the rest of a file that we know."""
    is_copy: bool = False
    """It was like a file that is still there; looked at again by the next scan."""
    is_gone: bool = False
    looks: dict[Place, Look | None] = field(default_factory=dict)
    """What it could not be told by, or is a copy of: as long as these files do not change it need not be open. None
    where that is not known; empty until it was looked at."""


class Discovery:
    """Keeps `readers` in the order in which the files were found; `say` tells people."""

    def __init__(self, options: Options, checkpoints: Checkpoints, say: Callable[[str], None]) -> None:
        self.readers: list[FileReader] = []
        self._options, self._checkpoints, self._say = options, checkpoints, say
        self._candidates: dict[Place, Candidate] = {}
        self._looked_into: dict[Place, dict[Place, Look | None]] = {}
        """Files that are closed again, and what would have to change for them to be opened once more."""
        self._unsure: set[str] = set()
        """Files of which the last scan could not tell whether they are still where they were."""
        self._told: set[str] = set()
        self._places = Places(options.inputs, self.tell_once)
        self._is_first_scan = True
        self.is_short_of_room = False
        """The last scan found more files than may be open."""

    def scan(self, now_s: float) -> None:
        """Looks for files that are new, moved, truncated or gone."""
        for reader in self.readers:
            self.check(reader)
        self._places.scan(state.path for state in self._checkpoints.states)
        self._note_states()
        self._note_names()
        self.is_short_of_room = False
        self._reopen(now_s)
        self._consider()
        for candidate in self._candidates.values():
            candidate.is_copy = False
        self.decide(now_s)
        self._note_names()
        self._is_first_scan = False

    def check(self, reader: FileReader) -> None:
        """A file that was truncated is a new one from here on; what was read of the old one is not lost."""
        try:
            if not reader.is_truncated():
                return
        except OSError as error:
            self.tell_failure(reader.path_now, error)
            return
        place = reader.state.place
        content = reader.lose_content()
        self._say(f"{reader.path_now}: truncated after {reader.position} bytes")
        if place is None:
            content.close()
        else:
            self._candidates[place] = Candidate(reader.path_now, place, reader.kind, content)

    def decide(self, now_s: float) -> None:
        """About the files that can be told by now."""
        for place, candidate in list(self._candidates.items()):
            if candidate.is_copy:
                continue
            candidate.looks = {place: self._places.look(place)}
            if self._is_taken_up(candidate, now_s):
                del self._candidates[place]
            elif candidate.is_gone:  # empty, or the copy of one that is there, or nobody can read it any more
                del self._candidates[place]
                candidate.content.close()

    def close(self, reader: FileReader) -> None:
        """All of it is accepted, or it is idle and others need its descriptor."""
        self.readers.remove(reader)
        state, content = reader.state, reader.content
        if content is not None:
            try:
                about = os.fstat(content.descriptor)
                state.changed_ns = about.st_mtime_ns
                state.disk_bytes = content.read_disk_bytes(reader.position) if reader.is_settled else -1
                if not about.st_nlink:
                    state.note_deletion()
            except OSError as error:
                self.tell_failure(reader.path_now, error)
                state.disk_bytes = -1
            content.close()
        state.is_finished = state.place is None

    def close_all(self) -> None:
        """Descriptors only: what is known stays as it is."""
        for content in [*(reader.content for reader in self.readers), *(c.content for c in self._candidates.values())]:
            if content is not None:
                content.close()
        self.readers, self._candidates = [], {}

    def tell_once(self, line: str) -> None:
        """What stays as it is need not be said with each scan."""
        if line not in self._told:
            self._told.add(line)
            self._say(line)

    def tell_failure(self, path: str, error: OSError) -> None:
        """A disk or a network that fails may come back, and the other files are read meanwhile."""
        self.tell_once(f"{path}: cannot be read, {error.strerror}; it is tried again")

    def _note_states(self) -> None:
        being_read = {id(reader.state) for reader in self.readers}
        now_wall_s = self._options.wall_s()
        for state in self._checkpoints.states:
            here = self._places.at(state.place)
            if here is not None:
                state.has_moved = here.path != state.path
            elif state.place is not None and id(state) not in being_read:
                state.note_deletion()
            if state.place is not None:
                state.seen_wall_s = now_wall_s

    def _note_names(self) -> None:
        for reader in self.readers:
            here = self._places.at(reader.state.place)
            reader.is_gone = here is None or here.path != reader.state.path
            reader.path_now = here.path if here is not None else reader.path_now
        for candidate in self._candidates.values():
            candidate.is_gone = candidate.place not in self._places.found

    def _reopen(self, now_s: float) -> None:
        """Files that we know, that are where they were, and that have grown or were not read to their end."""
        self._unsure.clear()
        being_read = {id(reader.state) for reader in self.readers}
        for state in self._checkpoints.states:
            if state.place is None or id(state) in being_read or state.place in self._candidates:
                continue
            here = self._places.found[state.place]
            kind = here.kind or self._places.kind_of(state.path)
            if kind is None or not _has_news(here, state):
                continue
            self._unsure.add(state.file_id)
            if not self._make_room():
                continue
            content = self._places.open(here.path, state.place)
            if content is None:
                continue
            try:
                is_same = state.lies_in(content)
            except OSError as error:
                self.tell_failure(here.path, error)
                content.close()
                continue
            self._unsure.remove(state.file_id)
            if is_same:
                self._read(state, content, kind, now_s)
            else:
                self._candidates[state.place] = Candidate(here.path, state.place, kind, content, here.kind is None)
                state.note_truncation()

    def _consider(self) -> None:
        """Files that are new to us. Of an empty one nothing can be told, so it takes no place of one that says
        something."""
        known = {state.place for state in self._checkpoints.states} | self._candidates.keys()
        lost = [state.path for state in self._checkpoints.states if state.place is None and not state.is_finished]
        lost_kinds = {stem(path): self._places.kind_of(path) for path in lost}
        for place, here in self._places.found.items():
            if place in known or not here.size_bytes:
                continue
            kind = here.kind
            if kind is None:
                kind = next((of_lost for begin, of_lost in lost_kinds.items() if here.path.startswith(begin)), None)
            if kind is not None and self._has_news_of(place):
                self._add_candidate(place, here, kind)

    def _add_candidate(self, place: Place, here: Found, kind: Input) -> None:
        if not self._make_room():
            return
        content = self._places.open(here.path, place)
        if content is not None:
            self._candidates[place] = Candidate(here.path, place, kind, content, here.kind is None)

    def _is_taken_up(self, candidate: Candidate, now_s: float) -> bool:
        """If it can be told by now, and is no copy of one that is there."""
        try:
            if not self._can_be_told(candidate) or self._is_copy_of_living(candidate):
                return False
            self._take_up(candidate, now_s)
            return True
        except OSError as error:
            self.tell_failure(candidate.path, error)
            candidate.looks[candidate.place] = None
            return False

    def _can_be_told(self, candidate: Candidate) -> bool:
        """Its first line, or a kilobyte of it, is there; of a file that does not grow any more, anything."""
        if not candidate.content.is_compressed:  # gzip creates its file before it writes to it
            candidate.content = content_of(candidate.content.descriptor)
        head = candidate.content.read(0, HEAD_BYTES)
        if candidate.content.damage:
            self.tell_once(f"{candidate.path}: damaged ({candidate.content.damage})")
        is_last = candidate.is_gone or self._options.once or candidate.content.is_over(len(head))
        return b"\n" in head or len(head) == HEAD_BYTES or (is_last and bool(head))

    def _is_copy_of_living(self, candidate: Candidate) -> bool:
        for reader in list(self.readers):
            self.check(reader)
            if reader.content is None or not _may_be_copy(candidate, reader.state, reader.path_now):
                continue
            if same_so_far(reader.content, candidate.content):
                return self._note_copy(candidate, reader.state, reader.path_now)
        being_read = {id(reader.state) for reader in self.readers}
        for state in self._checkpoints.states:
            here = self._places.at(state.place)
            if here is None or id(state) in being_read or state.place == candidate.place:
                continue
            if _may_be_copy(candidate, state, here.path) and self._is_like_file(here, state, candidate.content):
                return self._note_copy(candidate, state, here.path)
        return False

    def _is_like_file(self, here: Found, state: FileState, content: Content) -> bool:
        """Compared with a file that is known and not open now; only if it begins alike, for opening is dear. What is
        shorter than that beginning may be a copy that has only begun."""
        is_short = len(content.read(0, HEAD_BYTES)) < state.head_bytes
        if not (is_short or state.begins(content)):
            return False
        original = None if state.file_id in self._unsure else self._places.open(here.path, state.place)
        if original is None:  # gone, or not to be read at present: the next scan may know
            self._unsure.add(state.file_id)
            return True
        try:
            return same_so_far(original, content)
        finally:
            original.close()

    def _note_copy(self, candidate: Candidate, state: FileState, path_now: str) -> bool:
        candidate.is_copy = True
        if state.place is not None:
            is_unsure = state.file_id in self._unsure
            candidate.looks[state.place] = None if is_unsure else self._places.look(state.place)
        self.tell_once(f"{candidate.path}: a copy of {path_now} so far; not read as long as both are there and alike")
        return True

    def _take_up(self, candidate: Candidate, now_s: float) -> None:
        state = self._lost_state_in(candidate)
        if state is not None:
            self._say(f"{candidate.path}: goes on at byte {state.offset} of what was {state.path}")
            state.place, state.disk_bytes = candidate.place, -1
            state.is_finished = state.is_truncated_away = False
        elif candidate.only_known:
            self._looked_into[candidate.place] = candidate.looks
            candidate.content.close()
            return
        else:
            state = self._new_state(candidate)
        self._read(state, candidate.content, candidate.kind, now_s)

    def _lost_state_in(self, candidate: Candidate) -> FileState | None:
        """Of the files whose content went somewhere, the one that is found here farthest."""
        lost = [state for state in self._checkpoints.states if state.place is None and _may_hold(candidate, state)]
        found = [(_bytes_held(candidate, state), state) for state in lost]
        matched = [(reached, state) for reached, state in found if reached is not None]
        return max(matched, key=lambda pair: pair[0])[1] if matched else None

    def _new_state(self, candidate: Candidate) -> FileState:
        head = candidate.content.read(0, HEAD_BYTES)
        first_line = head[: head.find(b"\n") + 1] or head
        used = {state.file_id for state in self._checkpoints.states}
        of_file = file_id(*candidate.place, first_line, 0)
        if of_file in used:  # truncated, and begun with the same line
            of_file = file_id(*candidate.place, first_line, self._checkpoints.next_generation())
        state = new_state(candidate.path, of_file, candidate.place, head)
        if self._options.start_at_end and self._is_first_scan and self._checkpoints.is_new:
            state.offset = candidate.content.size_bytes()
        self._checkpoints.add(state)
        return state

    def _read(self, state: FileState, content: Content, kind: Input, now_s: float) -> None:
        """With the reader that waits for it, or a new one. The state is kept before anything of it is sent."""
        self._checkpoints.is_urgent = True
        try:
            for reader in self.readers:
                if reader.state is state:
                    reader.go_on_with(content, now_s)
                    return
            self.readers.append(FileReader(state, content, kind, self._options.host, now_s))
        except OSError as error:  # the state says where it lies: it is opened again
            self.tell_failure(state.path, error)
            content.close()

    def _make_room(self) -> bool:
        """Whether another file may be opened; one that is idle gives way, or one that is not to be read at present."""
        if self.is_short_of_room:  # this scan has found none to close
            return False
        if len(self.readers) + len(self._candidates) < self._options.max_open_files:
            return True
        idle = [reader for reader in self.readers if reader.is_idle]
        if idle:
            self.close(min(idle, key=lambda reader: reader.changed_s))
            return True
        held = [candidate for candidate in self._candidates.values() if self._may_give_way(candidate)]
        if held:
            one = min(held, key=lambda candidate: self._places.has_changed(candidate.looks))
            self._looked_into[one.place] = one.looks
            del self._candidates[one.place]
            one.content.close()
            return True
        self.is_short_of_room = True
        self.tell_once(f"more than {self._options.max_open_files} files are new or grow at a time: the others wait")
        return False

    def _may_give_way(self, candidate: Candidate) -> bool:
        """It was looked at in vain, and by a glob it is found again once something has changed."""
        here = self._places.at(candidate.place)
        return bool(candidate.looks) and here is not None and here.kind is not None

    def _has_news_of(self, place: Place) -> bool:
        looks = self._looked_into.get(place)
        return looks is None or self._places.has_changed(looks)


def _may_be_copy(candidate: Candidate, state: FileState, path_now: str) -> bool:
    """Of a file that is there, by their names: what a rotation makes of one is longer. So the rotated logs of a job, of
    which the oldest are found first, are no copies of each other."""
    is_longer = len(candidate.path) > len(path_now)
    return is_longer and state.may_lie_at(candidate.path) and are_named_alike(candidate.path, path_now)


def _may_hold(candidate: Candidate, state: FileState) -> bool:
    """What a file that is gone held: by its name, or because so much of it can be compared that chance is out."""
    is_long = state.head_bytes == HEAD_BYTES
    return state.may_lie_at(candidate.path) and (is_long or are_named_alike(candidate.path, state.path))


def _bytes_held(candidate: Candidate, state: FileState) -> int | None:
    """Up to where it is what a file held that is gone. Less than was read of that can only be the copy of one that was
    truncated; else it is another file that begins alike."""
    may_be_less = state.is_truncated_away and are_named_alike(candidate.path, state.path)
    return state.matched_bytes(candidate.content) if may_be_less or state.lies_in(candidate.content) else None


def _has_news(here: Found, state: FileState) -> bool:
    about = status_of(here.path)
    return about is not None and (about.st_size, about.st_mtime_ns) != (state.disk_bytes, state.changed_ns)
