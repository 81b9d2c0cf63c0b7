"""Waiting on an event loop for so long at most, and no longer than until it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(waiting: Coroutine[Any, Any, T], wait_s: float) -> T:
    """Its result. Raises asyncio.TimeoutError after `wait_s` seconds; then, or cancelled, it has ended on return.

    asyncio.wait_for does the same, but before Python 3.12 it forgets a cancellation that comes when the result is just
    there: a task that was told to end goes on.
    """
    task = asyncio.ensure_future(waiting)
    try:
        await asyncio.wait({task}, timeout=wait_s)
    finally:
        if task.cancel():
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at: nobody else does where the waiter itself is cancelled
    if task.cancelled():
        raise asyncio.TimeoutError
    return task.result()
