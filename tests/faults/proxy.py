"""A network that fails: a TCP proxy of the tests' own, on real sockets, a thread for each direction of a connection.

It passes bytes on until it is told otherwise. Whatever it does to a connection, the byte stream stays whole: held bytes
are passed on later, as TCP would, or the connection ends.
"""

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass

from forebay.local.ports import free_port

_HOST = "127.0.0.1"
_CHUNK_BYTES = 1 << 16
_CONNECT_TIMEOUT_S = 5.0
# Closing with no time to linger sends RST instead of FIN.
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class _Link:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket

    @property
    def ends(self) -> tuple[socket.socket, socket.socket]:
        return self.client, self.server


class Proxy:
    """Listens on `port` of the loopback and passes on to `upstream_port`; close() ends it with all its connections."""

    def __init__(self, upstream_port: int) -> None:
        self.port = free_port()
        self._upstream_port = upstream_port
        self._open = threading.Event()
        self._closed = threading.Event()
        self._delay_s = 0.0
        self._bytes_per_s = 0.0
        self._links: list[_Link] = []
        self._listener = socket.create_server((_HOST, self.port))
        self._accepting = threading.Thread(target=self._accept_for_ever, name="proxy", daemon=True)
        self.heal()
        self._accepting.start()

    @property
    def address(self) -> str:
        return f"{_HOST}:{self.port}"

    def heal(self) -> None:
        """Everything passes, what was held first."""
        self._delay_s, self._bytes_per_s = 0.0, 0.0
        self._open.set()

    def cut(self) -> None:
        """Nothing passes and nothing says so: connections stay, new ones are taken and never answered."""
        self._open.clear()

    def slow(self, *, delay_s: float = 0.0, bytes_per_s: float = 0.0) -> None:
        """Every chunk is late by `delay_s`, and each connection passes no more than `bytes_per_s` either way."""
        self._delay_s, self._bytes_per_s = delay_s, bytes_per_s

    def reset(self) -> int:
        """Break all connections with an RST to both ends; new ones are served. Returns how many it broke."""
        broken, self._links = self._links, []
        for link in broken:
            for end in link.ends:
                with contextlib.suppress(OSError):  # it has just ended by itself
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
                    # Sends nothing; it wakes the thread that reads there, which closes.
                    end.shutdown(socket.SHUT_RD)
        return len(broken)

    def close(self) -> None:
        self._closed.set()
        self._open.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for link in self._links:
            for end in link.ends:
                with contextlib.suppress(OSError):  # it has ended by itself
                    end.shutdown(socket.SHUT_RDWR)

    def _accept_for_ever(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), name="proxy-link", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.wait()
        try:
            server = socket.create_connection((_HOST, self._upstream_port), timeout=_CONNECT_TIMEOUT_S)
        except OSError:  # the service is away: so is this connection
            client.close()
            return
        server.settimeout(None)
        link = _Link(client, server)
        self._links.append(link)
        back = threading.Thread(target=self._pump, args=(server, client), name="proxy-back", daemon=True)
        back.start()
        self._pump(client, server)
        back.join()
        for end in link.ends:
            end.close()
        with contextlib.suppress(ValueError):  # reset() has forgotten it already
            self._links.remove(link)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """One direction, until either end goes; then both ends are told."""
        with contextlib.suppress(OSError):  # a broken connection ends like a closed one
            while chunk := source.recv(_CHUNK_BYTES):
                self._hold(len(chunk))
                sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):  # it is closed already
                end.shutdown(socket.SHUT_RD if _is_to_be_reset(end) else socket.SHUT_RDWR)

    def _hold(self, count: int) -> None:
        wait_s = self._delay_s + (count / self._bytes_per_s if self._bytes_per_s else 0.0)
        if wait_s:
            self._closed.wait(wait_s)
        self._open.wait()


def _is_to_be_reset(end: socket.socket) -> bool:
    return end.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RST_ON_CLOSE)) == _RST_ON_CLOSE
