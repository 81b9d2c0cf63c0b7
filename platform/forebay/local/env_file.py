"""Small files of NAME=value lines under var/: for their owner alone, for a shell's `.`, and never half written."""

import os
from collections.abc import Mapping
from pathlib import Path


def read(path: Path) -> dict[str, str]:
    """The file's values; empty when there is no file. Lines that assign nothing are passed over."""
    if not path.exists():
        return {}
    assignments = (line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in assignments if equals}


def write(path: Path, values: Mapping[str, str], *, comment: str) -> None:
    """Replace the file, mode 0600 from its first byte on."""
    text = "\n".join([f"# {comment}", *(f"{name}={value}" for name, value in values.items())]) + "\n"
    partial = path.with_suffix(path.suffix + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)
