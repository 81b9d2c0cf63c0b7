"""The synchronous client: what an application calls. Any thread."""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Callable

from forebay_client.acknowledged import Pause, acknowledged, one_result
from forebay_client.buffer import Limits, Tracked
from forebay_client.events import Encoder, Event
from forebay_client.records import SnapshotEncoder
from forebay_client.results import Callback, Counters, Result
from forebay_client.sender import Sender
from forebay_client.spool import Spool
from forebay_client.transport import Transport
from forebay_client.wire import DELIVERIES, Rejection

OnRejected = Callable[[Mapping[str, Any], Rejection], None]


class BaseClient:
    """What both clients share: everything but waiting for an acknowledgement.

    `url` and `key` default to the environment's FOREBAY_URL and FOREBAY_KEY. `source` names the application, and
    `hostname` the machine. `on_rejected` is called for each event of `send_nowait` that Forebay refused, with the event
    and the reason. Everything else has a default that suits an application which logs: README.md tells each.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        source: str,
        hostname: str | None = None,
        delivery: str = "",
        compression: str | None = "gzip",
        timeout_s: float = 15.0,
        connect_timeout_s: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
        buffer_max_bytes: int = 16 << 20,
        batch_max_events: int = 500,
        batch_max_bytes: int = 1 << 20,
        linger_s: float = 0.2,
        exit_timeout_s: float = 5.0,
        spool_dir: str | os.PathLike[str] | None = None,
        spool_max_bytes: int = 256 << 20,
        on_rejected: OnRejected | None = None,
    ) -> None:
        if delivery not in DELIVERIES:
            raise ValueError(f"delivery {delivery!r} is none of {DELIVERIES}")
        if min(buffer_max_bytes, batch_max_events, batch_max_bytes) < 1:
            raise ValueError("the bounds of buffer and batch must be 1 at least")
        self._connection: dict[str, Any] = {
            "url": url or os.environ.get("FOREBAY_URL", ""),
            "key": key or os.environ.get("FOREBAY_KEY", ""),
            "timeout_s": timeout_s,
            "connect_timeout_s": connect_timeout_s,
            "compression": compression,
            "ssl_context": ssl_context,
        }
        self.encoder = Encoder(source, hostname or socket.gethostname() or "unknown")
        self.sender = Sender(
            lambda: Transport(**self._connection),
            Limits(buffer_max_bytes, batch_max_events, batch_max_bytes, linger_s, exit_timeout_s),
            SnapshotEncoder(self.encoder).encode,
            delivery=delivery,
            spool=None if spool_dir is None else Spool(spool_dir, spool_max_bytes),
            on_rejected=None if on_rejected is None else _with_document(on_rejected),
        )

    def send_nowait(self, event: Event) -> bool:
        """Fire and forget: never waits. False if it was dropped at once, the buffer being full; that is counted."""
        return self.sender.put(self.encoder.event(event))

    def send_callback(self, event: Event, callback: Callback) -> None:
        """Never waits; `callback` is called once, with the result: by the sending thread, which it should not keep.

        The event asks for Kafka's acknowledgement. Over the buffer's bound the caller's own thread is told at once.
        """
        self.sender.put(Tracked.made(self.encoder.event(event), event.event_id, callback))

    def counters(self) -> Counters:
        """What became of the events of `send_nowait` and `send_callback` so far."""
        return self.sender.counters()


class Client(BaseClient):
    """Sends events in three ways: `send_nowait` forgets them, `send` waits for Kafka, `send_callback` is told later."""

    @cached_property
    def _transports(self) -> Transports:
        return Transports(lambda: Transport(**self._connection))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def send(self, event: Event, *, timeout_s: float = 30.0) -> Result:
        """Waits until Kafka has the event, and says where: Delivered. Pending, if Forebay has it and Kafka is slow.

        Sends again within the time as the server asks. Raises Rejected, or Unacknowledged at the end of the time.
        """
        return one_result(self.send_batch([event], timeout_s=timeout_s))

    def send_batch(self, events: Sequence[Event], *, timeout_s: float = 30.0) -> list[Result]:
        """As `send`, for many at once: a result for each event, in their order; a rejected one raises nothing."""
        encoded = [(event.event_id, self.encoder.event(event)) for event in events]
        steps = acknowledged(encoded, timeout_s)
        transport = self._transports.take()
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.wait_s)
                    step = next(steps)
                else:
                    step = steps.send(transport.send(step.events, delivery="ack", within_s=step.within_s))
        except StopIteration as done:
            results: list[Result] = done.value
            self._transports.give_back(transport)
            return results
        except BaseException:  # of what was interrupted the answer is still to come, or nobody is there
            transport.close()
            raise

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether everything before this call is answered, within the time."""
        return self.sender.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Flushes; what is left then goes to the spool, or is dropped and counted. It happens by itself at the exit."""
        self.sender.close(timeout_s)
        self._transports.close()


class Transports:
    """Idle connections for acknowledged sends: each send has one for itself. A forked child begins with none."""

    def __init__(self, connect: Callable[[], Transport]) -> None:
        self._connect = connect
        self._idle: deque[Transport] = deque()
        _pools.add(self)

    def take(self) -> Transport:
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def give_back(self, transport: Transport) -> None:
        self._idle.append(transport)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def forked(self) -> None:
        idle, self._idle = self._idle, deque()
        for transport in idle:
            transport.forked()


def _with_document(on_rejected: OnRejected) -> Callable[[bytes, Rejection], None]:
    return lambda event, rejection: on_rejected(json.loads(event), rejection)


def _empty_pools() -> None:
    for pool in list(_pools):
        pool.forked()


_pools: weakref.WeakSet[Transports] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_empty_pools)
