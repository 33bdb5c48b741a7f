"""Several questions to a device at once, as over a slow link waiting is what takes time.

Rule: reading only. Where one fails the others are given up, and nothing of them goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


async def together(
    first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B], third: Coroutine[Any, Any, C]
) -> tuple[A, B, C]:
    """What the three answer; raises what the first that failed raised."""
    tasks = (asyncio.ensure_future(first), asyncio.ensure_future(second), asyncio.ensure_future(third))
    try:
        one, two, three = await asyncio.gather(*tasks)
        return one, two, three
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def nothing() -> None:
    """Nothing is asked."""
