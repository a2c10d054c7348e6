"""Waiting with a bound, on the injected clock."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from trunkline.model import Clock, Nanos


async def within(clock: Clock, span: Nanos, work: Coroutine[Any, Any, Any]) -> bool:
    """Await ``work`` for at most ``span``; then it is cancelled and False returned. Its exceptions pass."""
    task = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(clock.sleep_until(Nanos(clock.now() + span)))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        finished = task.done()
    finally:
        for left in (task, timer):
            if not left.done():
                left.cancel()
                await asyncio.wait((left,))
    if finished:
        task.result()
    return finished
