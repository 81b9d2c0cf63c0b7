"""What rotates logs: to other names, into copies, into packed files. None is deleted: a test may lose no line."""

import gzip
import os
import shutil
from pathlib import Path


def rename(log: Path) -> Path:
    """app.log becomes app.log.1, what was that app.log.2 and so on; returns where it went."""
    target = _make_place(log)
    log.rename(target)
    return target


def rename_and_pack(log: Path) -> Path:
    """And the one before is packed, as logrotate does with `delaycompress`."""
    target = rename(log)
    before = log.with_name(f"{log.name}.2")
    if before.exists():
        pack(before)
    return target


def copytruncate(log: Path) -> Path:
    """The writer must wait meanwhile: what it would write between the copy and the truncation is lost to everybody."""
    target = _make_place(log)
    shutil.copyfile(log, target)
    os.truncate(log, 0)
    return target


def pack(path: Path) -> Path:
    """As gzip does: the packed file is complete before the other goes."""
    target = path.with_name(f"{path.name}.gz")
    with path.open("rb") as plain, gzip.open(target, "wb") as packed:
        shutil.copyfileobj(plain, packed)
    path.unlink()
    return target


def _make_place(log: Path) -> Path:
    rotated = sorted(log.parent.glob(f"{log.name}.*"), key=_number, reverse=True)
    for path in rotated:
        path.rename(path.with_name(path.name.replace(f".log.{_number(path)}", f".log.{_number(path) + 1}")))
    return log.with_name(f"{log.name}.1")


def _number(path: Path) -> int:
    return int(path.name.split(".")[2])
