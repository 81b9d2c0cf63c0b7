"""Traffic from a process of its own: what it costs to send must not slow down the senders whose answers are timed."""

import multiprocessing
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from tests.faults.traffic import Sent, Traffic

_BEGINS_WITHIN_S = 30.0
_ENDS_WITHIN_S = 60.0


class DistantTraffic:
    """As tests.faults.traffic.Traffic, with its arguments; what it sent is known when the `with` block is left."""

    def __init__(self, port: int, key: str, **of_traffic: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_send, args=(theirs, port, key, of_traffic), daemon=True)
        self.sent = Sent()

    def __enter__(self) -> Self:
        self._process.start()
        assert self._ours.poll(_BEGINS_WITHIN_S), "the distant senders did not begin"
        self._ours.recv()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ours.send("stop")
        if self._ours.poll(_ENDS_WITHIN_S):
            self.sent = self._ours.recv()
        self._process.join(_ENDS_WITHIN_S)


def _send(ours: Connection, port: int, key: str, of_traffic: dict[str, Any]) -> None:
    with Traffic(port, key, **of_traffic) as traffic:
        ours.send("sending")
        ours.recv()
    ours.send(traffic.sent)
