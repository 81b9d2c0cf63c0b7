"""What `up` and `serve` show at the terminal: steps on one line while things start, then whole lines. Main thread."""

import sys
from typing import TextIO


class Console:
    """Writes at once; a terminal that is gone is no reason to fail, because then everything is about to stop anyway."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._in_steps = False

    def step(self, name: str) -> None:
        """Name what starts now, beside the earlier steps."""
        self._write(f", {name}" if self._in_steps else f"starting {name}")
        self._in_steps = True

    def say(self, line: str) -> None:
        """A whole line of its own."""
        self._write(f"\n{line}\n" if self._in_steps else f"{line}\n")
        self._in_steps = False

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            pass  # see above
