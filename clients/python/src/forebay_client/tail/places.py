"""Where files lie: which of them the globs match, and what else is in their directories. One thread."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Callable

from forebay_client.tail.checkpoints import Place
from forebay_client.tail.content import Content, open_content
from forebay_client.tail.options import Input

Look = tuple[str, int, int]
"""Path, size in bytes and time of the last modification in nanoseconds: whether a file has changed."""

# Their text is not read; a rotated file that is packed in one of these ways must be sent before.
_PACKED = (".bz2", ".xz", ".zst", ".zip", ".lz4", ".tar")


@dataclass(frozen=True)
class Found:
    """Where a file lies now. `kind` is None for one that no glob matches."""

    path: str
    kind: Input | None
    changed_ns: int = 0
    size_bytes: int = -1
    """Both only of one that a glob matches."""


class Places:
    """The files of the last scan by device and inode; `tell_once` tells people."""

    def __init__(self, inputs: Iterable[Input], tell_once: Callable[[str], None]) -> None:
        self._inputs, self._tell_once = tuple(inputs), tell_once
        self.found: dict[Place, Found] = {}

    def scan(self, known_paths: Iterable[str]) -> None:
        """What the globs match, the oldest first, so that what was rotated goes before what came after it; then every
        file in the directories of known ones, for a rotated one may have a name that no glob has."""
        matched: dict[Place, Found] = {}
        for kind in self._inputs:
            for pattern in kind.paths:
                paths = glob.glob(pattern, recursive=True)
                if not paths:
                    self._tell_once(f"{pattern}: there is no such file yet")
                for path in paths:
                    if not _is_excluded(path, kind):
                        self._add(matched, path, kind)
        # Of two as old, an original before its copy, which has the longer name.
        self.found = dict(sorted(matched.items(), key=lambda item: (item[1].changed_ns, len(item[1].path))))
        for directory in {os.path.dirname(path) for path in known_paths}:
            for place, here in _files_in(directory).items():
                self.found.setdefault(place, here)

    def at(self, place: Place | None) -> Found | None:
        """Whatever lies there."""
        return self.found.get(place) if place is not None else None

    def look(self, place: Place | None) -> Look | None:
        """At the file there, as the last scan saw it if a glob matches it; None if there is none."""
        here = self.at(place)
        if here is None:
            return None
        if here.kind is not None:
            return here.path, here.size_bytes, here.changed_ns
        about = status_of(here.path)
        return None if about is None else (here.path, about.st_size, about.st_mtime_ns)

    def has_changed(self, looks: Mapping[Place, Look | None]) -> bool:
        """Any of these files since then, or it is gone."""
        return any(then is None or self.look(place) != then for place, then in looks.items())

    def kind_of(self, path: str) -> Input | None:
        """How a file is read that was once found under this path."""
        for kind in self._inputs:
            if any(fnmatch(path, pattern.replace("**/", "*")) for pattern in kind.paths):
                return kind
        return None

    def open(self, path: str, place: Place | None) -> Content | None:
        """None if it cannot be had, or the name is another file's by now."""
        content = None
        try:
            content = open_content(path)
            about = os.fstat(content.descriptor)
            if (about.st_dev, about.st_ino) == place:
                return content
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell_once(f"{path}: {error.strerror}; it is tried again with every scan")
        if content is not None:
            content.close()
        return None

    def _add(self, found: dict[Place, Found], path: str, kind: Input) -> None:
        about = status_of(path)
        if about is None:
            return
        if path.endswith(_PACKED):
            self._tell_once(f"{path}: not read; of packed files only .gz can be")
        else:
            found.setdefault((about.st_dev, about.st_ino), Found(path, kind, about.st_mtime_ns, about.st_size))


def status_of(path: str) -> os.stat_result | None:
    """Of a regular file; None for anything else, and for what is gone again."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about if stat.S_ISREG(about.st_mode) else None


def stem(path: str) -> str:
    """What the names of rotated files begin with: app.log becomes app.log.1, app-20300101.log or app.log.1.gz."""
    directory, name = os.path.split(path)
    return os.path.join(directory, _stem_of_name(name))


def are_named_alike(one: str, other: str) -> bool:
    """Whether a rotation may have made the one name of the other, in the same directory. app2.log is not of app.log."""
    directory, _, name = one.rpartition("/")
    other_directory, _, other_name = other.rpartition("/")
    if directory != other_directory:
        return False
    begin = min(_stem_of_name(name), _stem_of_name(other_name), key=len)
    return all(text.startswith(begin) and not text[len(begin) :][:1].isalnum() for text in (name, other_name))


def _stem_of_name(name: str) -> str:
    return name.split(".", 1)[0] or name


def _files_in(directory: str) -> dict[Place, Found]:
    """Without asking the file system about each; empty when the directory is gone."""
    try:
        device = os.stat(directory).st_dev
        with os.scandir(directory) as entries:
            files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
            return {(device, file.inode()): Found(file.path, None) for file in files}
    except OSError:
        return {}


def _is_excluded(path: str, kind: Input) -> bool:
    return any(fnmatch(path, pattern) or fnmatch(os.path.basename(path), pattern) for pattern in kind.exclude)
