"""One keep-alive connection to Forebay that posts one batch at a time: `http.client`, nothing else.

    transport = Transport("https://logs.example.com", "fb_...")
    outcome = transport.send([b'{"source":"app","level":"INFO","message":"hello","eventId":"1"}'])
    if outcome.retry_after_s is not None: ...   # keep the events, send them again after so long (0: your choice)
    elif outcome.is_to_be_split: ...            # send them in smaller parts
    else: outcome.accepted, outcome.rejected    # by index; each event is in one of them

Arguments are those of Endpoint. `send` blocks, and raises nothing that a network or a server can cause. It sends once:
waiting and sending again are the caller's, with the same bytes, so that the copy is known by its eventIds and its
idempotency key. Not thread-safe but for `abort`: one caller at a time.
"""

from __future__ import annotations

import http.client
import math
import os
import socket
import time
from collections.abc import Sequence

from forebay_client.endpoint import ANSWER_MAX_BYTES, Endpoint
from forebay_client.timed_http import TimedConnection, TimedTlsConnection
from forebay_client.wire import Outcome, Request, no_answer, read_answer

__all__ = ["Outcome", "Transport"]


_left_by_parents: list[TimedConnection] = []


class Transport(Endpoint):
    """Connects when first needed, and again when the connection broke."""

    _connection: TimedConnection | None = None
    _is_aborted = False

    def send(self, events: Sequence[bytes], *, delivery: str = "", within_s: float | None = None) -> Outcome:
        """Posts the events, each a JSON object without a line break. `delivery`: "" lets the server's rules decide.

        All of it ends after `within_s`: connecting, a second attempt, the answer's last byte. None: no end to all.
        """
        request = self.request(events, delivery)
        ends_s = math.inf if within_s is None else time.monotonic() + within_s
        is_reused = self._connection is not None
        try:
            try:
                return self._exchange(request, len(events), ends_s)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # A server closes what was idle for long; it is no sign that it is away.
                if not is_reused or self._is_aborted:
                    raise
                self.close()
                return self._exchange(request, len(events), ends_s)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return no_answer(error)

    def close(self) -> None:
        """The next `send` connects anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """From another thread, at the end: a `send` that waits for an answer ends now, without one."""
        self._is_aborted = True
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                pass

    def forked(self) -> None:
        """In a forked child: lets go of the parent's connection. This transport is not to be used any more."""
        connection = self._connection
        if connection is not None:
            # Closing would wait for the lock of a reading thread that the child does not have, and so would freeing.
            _left_by_parents.append(connection)
            if connection.sock is not None:
                os.close(connection.sock.detach())

    def _exchange(self, request: Request, count: int, ends_s: float) -> Outcome:
        connection = self._connected(ends_s)
        connection.wait_s = self.timeout_s
        try:
            connection.request("POST", request.target, request.body, dict(request.headers))
        except (BrokenPipeError, ConnectionResetError):
            # A server may refuse before it has read the body, and its answer is there to be read.
            pass
        response = connection.getresponse()
        body = response.read(ANSWER_MAX_BYTES)
        if response.will_close or not response.isclosed():
            self.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return read_answer(response.status, headers, body, count)

    def _connected(self, ends_s: float) -> TimedConnection:
        connection = self._connection
        if connection is not None:
            connection.ends_s = ends_s
            return connection
        # Kept before it connects, so that it is closed when that fails.
        connection = self._connection = (
            TimedTlsConnection(self.host, self.port, context=self.ssl_context)
            if self.is_tls
            else TimedConnection(self.host, self.port)
        )
        connection.wait_s, connection.ends_s = self.connect_timeout_s, ends_s
        connection.connect()
        return connection
