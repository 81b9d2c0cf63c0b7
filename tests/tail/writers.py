"""Programs that log, and the rotations that real ones do under them: numbered lines, so that each can be missed."""

import gzip
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

LINES_A_STEP = 20


def rename_rotated(log: Path, keep: int) -> None:
    """app.log.1 to app.log.2 and so on. None is deleted, for a test may not lose what nobody has read."""
    for number in range(keep, 0, -1):
        for suffix in ("", ".gz"):
            path = log.with_name(f"{log.name}.{number}{suffix}")
            if path.exists():
                path.rename(log.with_name(f"{log.name}.{number + 1}{suffix}"))


def rename(log: Path, keep: int) -> None:
    """As logrotate does by default; each second one is packed at the next rotation, as with `delaycompress`."""
    rename_rotated(log, keep)
    log.rename(log.with_name(f"{log.name}.1"))
    second = log.with_name(f"{log.name}.2")
    if second.exists():
        pack(second)


def copytruncate(log: Path, keep: int) -> None:
    """The writer waits meanwhile: what it would write between the copy and the truncation is lost to everybody."""
    rename_rotated(log, keep)
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


def pack(path: Path) -> None:
    with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    path.unlink()


class Writer:
    """Writes lines until the `with` block is left, and rotates each `rotate_lines` of them."""

    def __init__(
        self,
        log: Path,
        rotate: Callable[[Path, int], None],
        *,
        rotate_lines: int = 2_000,
        lines_per_s: float = 1_000.0,
        text: str = "",
    ) -> None:
        self.lines: list[str] = []
        self._log, self._rotate, self._rotate_lines, self._text = log, rotate, rotate_lines, text
        self._pause_s = LINES_A_STEP / lines_per_s
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write_on, name=f"writer of {log.name}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def _write_on(self) -> None:
        try:
            rotations = 0
            while not self._stopping.is_set():
                self._write()
                if len(self.lines) >= (rotations + 1) * self._rotate_lines:
                    rotations += 1
                    self._rotate(self._log, rotations)
                time.sleep(self._pause_s)
        except OSError as failure:  # shown by the test that it belongs to
            self._failure = failure

    def _write(self) -> None:
        """With a descriptor of its own each time, as a program that opens its log again after a rotation."""
        numbers = range(len(self.lines), len(self.lines) + LINES_A_STEP)
        lines = [f"{self._log.name} INFO number {number} {self._text}".rstrip() for number in numbers]
        with self._log.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))
        self.lines += lines
