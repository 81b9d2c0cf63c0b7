"""What the newest snapshot says of topics: those that were seen in the cluster, and which rules send there.

Of a snapshot only its first part is read: tenants and keys, which may be megabytes, follow behind.
"""

import struct
from pathlib import Path
from typing import cast

from django.conf import settings
from redis import Redis, RedisError

from ingest.builder import PUBLISHED
from ingest.dataplane.policy import Header, SnapshotFormatError, read_header

_LENGTH = struct.Struct("<I")


def newest_header(client: Redis) -> Header | None:
    """As Redis has it, or this node's file while it is away; None where neither has one."""
    try:
        return _published(client) or _of_file(Path(settings.FOREBAY_SNAPSHOT_FILE))
    except RedisError:
        return _of_file(Path(settings.FOREBAY_SNAPSHOT_FILE))


def _published(client: Redis) -> Header | None:
    length = cast(bytes, client.getrange(PUBLISHED, 0, _LENGTH.size - 1))
    if len(length) < _LENGTH.size:
        return None
    return _read(cast(bytes, client.getrange(PUBLISHED, 0, _end_of(length) - 1)))


def _of_file(path: Path) -> Header | None:
    try:
        with path.open("rb") as file:
            length = file.read(_LENGTH.size)
            return _read(length + file.read(_end_of(length) - _LENGTH.size)) if len(length) == _LENGTH.size else None
    except OSError:
        return None


def _read(blob: bytes) -> Header | None:
    try:
        return read_header(blob)
    except SnapshotFormatError:
        return None


def _end_of(length: bytes) -> int:
    return _LENGTH.size + int(_LENGTH.unpack(length)[0])
