"""What the kernel says about processes in /proc: their group, their session, whether they are more than zombies."""

from collections.abc import Iterator
from pathlib import Path

# Of /proc/PID/stat, counted from the state, which follows the command's closing parenthesis.
STATE, GROUP, SESSION = 0, 2, 3


def session_of(pid: int) -> int | None:
    """None when the process is gone or only waits to be reaped."""
    fields = _stat(Path(f"/proc/{pid}"))
    return int(fields[SESSION]) if fields else None


def group_members(group: int) -> set[int]:
    """The live processes of a process group; what only waits to be reaped by init holds nothing any more."""
    return {pid for pid, fields in _all_live() if int(fields[GROUP]) == group}


def _all_live() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(entry)):
            yield int(entry.name), fields


def _stat(entry: Path) -> list[str]:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile
        return []
    return [] if fields[STATE] in "ZX" else fields
