"""The client for asyncio: acknowledged sends on the caller's loop, all else by the sending thread, as for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

from forebay_client.acknowledged import Pause, Post, acknowledged, one_result
from forebay_client.async_transport import AsyncTransport
from forebay_client.client import BaseClient
from forebay_client.events import Event
from forebay_client.results import Callback, Result
from forebay_client.wire import Outcome, no_answer
from forebay_client.within import within

# A worker of Forebay lets no more than a quarter of its 64 threads wait for one tenant's acknowledgements.
CONNECTIONS = 8


class AsyncClient(BaseClient):
    """As Client, with `await` for whatever waits."""

    _pool: _Pool | None = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def send_callback(self, event: Event, callback: Callback) -> None:
        """Never waits; `callback` is called once, with the result, by the loop that runs now."""
        loop = asyncio.get_running_loop()
        super().send_callback(event, lambda result: _call_soon(loop, callback, result))

    async def send(self, event: Event, *, timeout_s: float = 30.0) -> Result:
        """Waits until Kafka has the event: see Client.send. Raises Rejected or Unacknowledged."""
        return one_result(await self.send_batch([event], timeout_s=timeout_s))

    async def send_batch(self, events: Sequence[Event], *, timeout_s: float = 30.0) -> list[Result]:
        """A result for each event, in their order; a rejected one raises nothing."""
        encoded = [(event.event_id, self.encoder.event(event)) for event in events]
        steps = acknowledged(encoded, timeout_s)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.wait_s)
                    step = next(steps)
                else:
                    step = steps.send(await self._post_in_time(step))
        except StopIteration as done:
            results: list[Result] = done.value
            return results

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether everything before this call is answered, within the time."""
        return await asyncio.get_running_loop().run_in_executor(None, self.sender.flush, timeout_s)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Flushes; what is left then goes to the spool, or is dropped and counted."""
        await asyncio.get_running_loop().run_in_executor(None, self.sender.close, timeout_s)
        if self._pool is not None:
            self._pool.close()

    async def _post_in_time(self, post: Post) -> Outcome:
        """Its time covers all of it: waiting for a connection that is free, connecting, the answer."""
        try:
            return await within(self._post(post.events), post.within_s)
        except asyncio.TimeoutError as error:
            return no_answer(error)

    async def _post(self, events: Sequence[bytes]) -> Outcome:
        loop = asyncio.get_running_loop()
        if self._pool is None or self._pool.loop is not loop:
            self._pool = _Pool(loop)
        pool = self._pool
        async with pool.free:
            transport = pool.idle.pop() if pool.idle else AsyncTransport(**self._connection)
            outcome = await transport.send(events, delivery="ack")
            pool.idle.append(transport)
        return outcome


class _Pool:
    """The connections of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.free = asyncio.Semaphore(CONNECTIONS)
        self.idle: list[AsyncTransport] = []

    def close(self) -> None:
        while self.idle:
            self.idle.pop().close()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callback, result: Result) -> None:
    loop.call_soon_threadsafe(callback, result)
