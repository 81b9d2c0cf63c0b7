"""A program that logs numbered lines and rotates its log, so that each line can be missed."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

LINES_A_STEP = 20


class Writer:
    """Writes lines until the `with` block is left, and rotates each `rotate_lines` of them."""

    def __init__(
        self,
        log: Path,
        rotate: Callable[[Path], Path],
        *,
        rotate_lines: int = 2_000,
        lines_per_s: float = 1_000.0,
    ) -> None:
        self.lines: list[str] = []
        self._log, self._rotate, self._rotate_lines = log, rotate, rotate_lines
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
                    self._rotate(self._log)
                time.sleep(self._pause_s)
        except OSError as failure:  # shown by the test that it belongs to
            self._failure = failure

    def _write(self) -> None:
        """With a descriptor of its own each time, as a program that opens its log again after a rotation."""
        numbers = range(len(self.lines), len(self.lines) + LINES_A_STEP)
        lines = [f"{self._log.name} INFO number {number}" for number in numbers]
        with self._log.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))
        self.lines += lines
