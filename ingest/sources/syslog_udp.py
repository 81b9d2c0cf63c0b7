"""Syslog over UDP: a datagram is a message (RFC 5426). What is lost is counted, in the kernel's buffer and here.

Sources; the loop's thread, one task a port. While windows are taken in slowly nothing is read, so what there is no room
for is dropped in one place, the kernel's buffer, whose count /proc tells.
"""

import asyncio
import os
import socket
from collections import deque
from pathlib import Path
from typing import Final

from django.conf import settings

from ingest.sources.syslog_losses import Losses
from ingest.sources.syslog_senders import Port, Received, Senders
from ingest.worker import Worker

_DATAGRAM_BYTES: Final = 65_536
_READ_AT_ONCE: Final = 500
_TABLES: Final = ("/proc/net/udp", "/proc/net/udp6")


class UdpPort:
    """One port, from `start` to `stop`."""

    def __init__(self, node: Worker, losses: Losses, host: str, port: Port) -> None:
        self._losses = losses
        self._tenant = port.tenant
        self._senders = Senders(node, node.event_limits, self._lost, waits=False)
        self._window_s = settings.FOREBAY_STREAM_WINDOW_MS / 1000
        self._message_max_bytes: int = settings.FOREBAY_SYSLOG_MESSAGE_MAX_BYTES
        self._socket = _bound(host, port.number)
        self._received: deque[Received] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._kernel_drops = 0
        self._is_stopping = False

    def start(self) -> None:
        """Begin to receive."""
        asyncio.get_running_loop().add_reader(self._socket, self._receive)
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Take in what has arrived, then close. What comes later nobody hears."""
        self._is_stopping = True
        asyncio.get_running_loop().remove_reader(self._socket)
        try:
            # Connected to itself it hears nobody else, and still has what came before: however many send, this ends.
            self._socket.connect(self._socket.getsockname())
            self._arrived.set()
            if self._task is not None:
                await self._task
            while self._receive():
                await self._take_all()
            await self._take_all()
        finally:
            self._lost("go_elsewhere", len(self._received))
            self.count_kernel_drops()
            self._socket.close()

    def count_kernel_drops(self) -> None:
        """What the kernel's buffer had no room for since the last time."""
        drops = kernel_drops(os.fstat(self._socket.fileno()).st_ino)
        self._lost("kernel", drops - self._kernel_drops)
        self._kernel_drops = drops

    def _receive(self) -> bool:
        """Read what is there, up to a window's worth. False when that was all."""
        for _ in range(_READ_AT_ONCE):
            try:
                message, address = self._socket.recvfrom(_DATAGRAM_BYTES)
            except BlockingIOError:
                break
            message = message.rstrip(b"\r\n\0 ")[: self._message_max_bytes]
            if message:
                self._received.append(Received(message, address[0]))
        if not self._received:
            return False
        self._arrived.set()
        # The task takes these in first; meanwhile the kernel keeps, and counts what it cannot.
        is_full = len(self._received) >= _READ_AT_ONCE
        if is_full:
            asyncio.get_running_loop().remove_reader(self._socket)
        return is_full

    async def _work(self) -> None:
        while not self._is_stopping:
            await self._arrived.wait()
            if len(self._received) < _READ_AT_ONCE:
                await asyncio.sleep(self._window_s)
            self._arrived.clear()
            await self._take_all()
            if not self._is_stopping:
                asyncio.get_running_loop().add_reader(self._socket, self._receive)

    async def _take_all(self) -> None:
        while self._received:
            window = [self._received.popleft() for _ in range(min(len(self._received), _READ_AT_ONCE))]
            for owned in self._senders.sort(window, self._tenant):
                await self._senders.offer(owned)
            await asyncio.sleep(0)  # the others' turn

    def _lost(self, reason: str, messages: int) -> None:
        self._losses.add("udp", reason, messages)


def kernel_drops(inode: int) -> int:
    """How many datagrams the kernel dropped since the socket was made (proc(5); the last column)."""
    for table in filter(Path.exists, map(Path, _TABLES)):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[9]) == inode:
                return int(fields[-1])
    return 0


def _bound(host: str, port: int) -> socket.socket:
    """With as large a buffer as the system lets it have: it is all that a burst finds."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    made = socket.socket(family, kind)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.FOREBAY_SYSLOG_UDP_BUFFER_BYTES)
    made.bind(address)
    return made
