"""A segment that a few unsettled records pin is written anew with only these, so that its space comes back.

Data plane; the drain's thread. The new file takes the old one's name, sequence numbers and place in the order, so that
nothing that refers to it changes.
"""

import os

from ingest.dataplane.segments import MAGIC, SETTLED, Accept, Segment, Settle, frame

SUFFIX = ".rewriting"


def is_worth_rewriting(segment: Segment) -> bool:
    """Whether most of it is settled and nothing of it is in librdkafka's hands. Of one that is settled whole only the
    SETTLEs are needed, or it would be gone.

    What a rewriting had to leave in it, places of settled records and SETTLEs, is no reason for another one."""
    size_bytes = segment.size_bytes if segment.rewritten_bytes is None else segment.rewritten_bytes
    return segment.live_bytes * 2 < size_bytes and not segment.in_flight


def rewritten(segment: Segment, kept_before: list[Segment]) -> Segment:
    """A file beside the segment's own with what is unsettled, and with the SETTLEs that segments before it still need.

    Records that are settled meanwhile stay: their SETTLE is written elsewhere. Raises OSError and DamagedFrame."""
    path = segment.path.with_suffix(SUFFIX)
    fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
    new = Segment(path, segment.first_sequence, fd, len(MAGIC))
    try:
        os.pwrite(fd, MAGIC, 0)
        for _, _, entry in segment.entries(segment.size_bytes):
            if isinstance(entry, Accept):
                _keep_unsettled(segment, new, entry)
            elif isinstance(entry, Settle):
                _keep_ranges(entry, new, kept_before)
        os.fdatasync(fd)  # a rename can be on the disk before what it renames
    except BaseException:
        os.close(fd)
        path.unlink()
        raise
    new.reserved_bytes = new.size_bytes
    return new


def _keep_unsettled(old: Segment, new: Segment, accept: Accept) -> None:
    start = accept.sequence - old.first_sequence
    states = old.states[start : start + len(accept.records)]
    if states.count(SETTLED) == len(states):
        return
    accept.records = [
        None if state == SETTLED else record for state, record in zip(states, accept.records, strict=True)
    ]
    header, payload = frame(accept)
    at = new.write(header, payload)
    index = old.index_of(accept.sequence)
    new.add(accept.sequence, at, len(states), SETTLED, old.accounts[index], old.sizes_bytes[index])


def _keep_ranges(settle: Settle, new: Segment, kept_before: list[Segment]) -> None:
    settle.ranges = [
        (first, count)
        for first, count in settle.ranges
        if any(first < one.end_sequence and first + count > one.first_sequence for one in kept_before)
    ]
    if settle.ranges:
        new.write(*frame(settle))
