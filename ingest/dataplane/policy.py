"""What the event path must know: callers, quotas, rules and topics, as one immutable snapshot, and its file format.

Data plane; pure. The file is a sequence of length-prefixed msgpack chunks: a header, then tenants and keys in slices. A
worker decodes it slice by slice, so that another thread gets the interpreter between two of them and ten thousand
tenants do not stall the path.
"""

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import msgspec

from ingest.dataplane.partitioning import Partitioning
from tenants.quotas import Quota

T = TypeVar("T")

FORMAT = 2
SLICE = 250
_LENGTH = struct.Struct("<I")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TenantPolicy(msgspec.Struct, frozen=True, array_like=True):
    """A tenant as the event path sees it. `delivery` is the default of its events; `quarantine` says what is kept of
    a rejected one: off, redacted or hash."""

    name: str
    active: bool
    delivery: str
    quota: Quota
    idempotency_keys: bool = False
    deduplicates: bool = False
    quarantine: str = "off"


class KeyPolicy(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """An API key; `digest` is the SHA-256 of the whole key text. Revoked keys stay, so that their holder is told."""

    digest: bytes
    key_id: int
    tenant: str
    scopes: frozenset[str]
    expires_wall_s: float | None
    revoked: bool
    allowed_networks: tuple[str, ...]
    quota: Quota

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """The address allow-list; empty means any address."""
        return tuple(ipaddress.ip_network(text) for text in self.allowed_networks)


class RulePolicy(msgspec.Struct, frozen=True, array_like=True):
    """One routing rule; empty match fields match everything. `key` names fields: source, hostname, metadata.order …
    `rule_id` is its row, 0 for the built-in default."""

    name: str
    tenants: tuple[str, ...]
    source_glob: str
    levels: tuple[str, ...]
    metadata_field: str
    metadata_glob: str
    topic: str
    partitioning: Partitioning
    key: tuple[str, ...]
    delivery: str
    keep_ratio: float
    drop_reason: str
    rule_id: int = 0


class TopicPolicy(msgspec.Struct, frozen=True, array_like=True):
    """A topic that the builder has seen in the cluster; `event_max_bytes` is what a value and its key may take."""

    name: str
    partitions: int
    event_max_bytes: int


class UnusableTopic(msgspec.Struct, frozen=True, array_like=True):
    """A topic to which events are routed and to which nothing is produced. `reason` is one of `ingest.unusable_topics`,
    `detail` what Kafka said; the sizes are known of a topic that takes less than a batch."""

    name: str
    reason: str
    detail: str = ""
    takes_bytes: int = 0
    batch_bytes: int = 0


class OverridePolicy(msgspec.Struct, frozen=True, array_like=True):
    """The newest word of an operator about one place: the cluster's breaker (no topic), a topic's, or whether a
    tenant's events for a topic are parked. `number` grows with each word: no clock says what is new."""

    number: int
    kind: str
    topic: str
    tenant: str
    by: str
    reason: str
    at_wall_ms: int


class Header(msgspec.Struct, frozen=True):
    """The first chunk. `version` is the control plane's, `built_wall_ms` orders rebuilds of one version,
    `rules_version` is the number under which the rules were published; 0: nothing was, the default takes all."""

    version: int
    built_wall_ms: int
    rules: tuple[RulePolicy, ...]
    topics: tuple[TopicPolicy, ...]
    labelled_tenants: tuple[str, ...]
    tenants: int
    keys: int
    format: int = FORMAT
    overrides: tuple[OverridePolicy, ...] = ()
    rules_version: int = 0
    unusable: tuple[UnusableTopic, ...] = ()

    @property
    def age_key(self) -> tuple[int, int]:
        """Orders snapshots: the higher one wins."""
        return (self.version, self.built_wall_ms)


class Slice(msgspec.Struct, frozen=True):
    """A few tenants and keys."""

    tenants: tuple[TenantPolicy, ...] = ()
    keys: tuple[KeyPolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent state of the control plane. Replaced whole, never changed."""

    header: Header
    tenants: dict[str, TenantPolicy]
    keys: dict[bytes, KeyPolicy]
    topics: dict[str, TopicPolicy] = field(default_factory=dict)

    @property
    def age_key(self) -> tuple[int, int]:
        """Orders snapshots: the higher one wins."""
        return self.header.age_key


class SnapshotFormatError(ValueError):
    """The bytes are not a snapshot of this format."""


_pack = msgspec.msgpack.Encoder().encode
_header = msgspec.msgpack.Decoder(Header)
_slice = msgspec.msgpack.Decoder(Slice)


def dump(header: Header, tenants: list[TenantPolicy], keys: list[KeyPolicy]) -> bytes:
    """The bytes of a snapshot file."""
    chunks: list[msgspec.Struct] = [header]
    chunks += [Slice(tenants=tuple(part)) for part in _slices(tenants)]
    chunks += [Slice(keys=tuple(part)) for part in _slices(keys)]
    return b"".join(_LENGTH.pack(len(packed)) + packed for packed in map(_pack, chunks))


def load(blob: bytes) -> Snapshot:
    """A snapshot from its bytes. Raises SnapshotFormatError; a snapshot cut short is one."""
    chunks = _chunks(blob)
    try:
        header = _header.decode(next(chunks))
        tenants: dict[str, TenantPolicy] = {}
        keys: dict[bytes, KeyPolicy] = {}
        for chunk in chunks:
            part = _slice.decode(chunk)
            tenants.update((tenant.name, tenant) for tenant in part.tenants)
            keys.update((key.digest, key) for key in part.keys)
    except (msgspec.DecodeError, StopIteration, struct.error) as error:
        raise SnapshotFormatError(str(error)) from error
    if (header.format, header.tenants, header.keys) != (FORMAT, len(tenants), len(keys)):
        raise SnapshotFormatError("the snapshot is of another format or cut short")
    return Snapshot(header, tenants, keys, {topic.name: topic for topic in header.topics})


def read_header(blob: bytes) -> Header:
    """Only the first chunk: enough to see whether a snapshot is newer. Raises SnapshotFormatError."""
    try:
        return _header.decode(next(_chunks(blob)))
    except (msgspec.DecodeError, StopIteration, struct.error) as error:
        raise SnapshotFormatError(str(error)) from error


def _slices(items: list[T]) -> Iterable[list[T]]:
    return (items[at : at + SLICE] for at in range(0, len(items), SLICE))


def _chunks(blob: bytes) -> Iterator[memoryview]:
    view, at = memoryview(blob), 0
    while at < len(blob):
        (length,) = _LENGTH.unpack_from(blob, at)
        at += _LENGTH.size
        yield view[at : at + length]
        at += length
