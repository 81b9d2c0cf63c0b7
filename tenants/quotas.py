"""The control plane's word for how much a caller may send: the quota itself, what a refusal tells, and the token bucket.

Pure: no Django, no Redis, no clock of its own. The values are immutable and shared by every thread; a TokenBucket belongs
to one thread or to whoever holds its owner's lock.
"""

import msgspec


class Quota(msgspec.Struct, frozen=True):
    """What a plan, a tenant or a key is allowed; 0 is unlimited, and a burst of 0 beside a rate means one second of it."""

    events_per_s: int = 0
    burst_events: int = 0
    bytes_per_s: int = 0
    burst_bytes: int = 0
    events_per_day: int = 0
    requests_per_s_per_address: int = 0
