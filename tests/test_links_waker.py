"""A link's task sleeps through what callbacks do in its name, and misses nothing of it."""

from __future__ import annotations

import asyncio

import pytest

from fieldlog_sim.links.waker import Waker


async def waiting(waker: Waker, until: float | None) -> asyncio.Task[float]:
    """A task that waits; its result is when it went on, in the loop's time."""
    loop = asyncio.get_running_loop()

    async def wait() -> float:
        await waker.wait(until)
        return loop.time()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    return task


async def test_a_wake_before_the_wait_counts_once() -> None:
    waker = Waker()
    waker.wake()
    await waker.wait(None)
    task = await waiting(waker, None)
    assert not task.done()
    waker.wake()
    await task


@pytest.mark.parametrize("later", [0.0, 0.05])
async def test_a_timer_left_from_an_earlier_wait_wakes_nobody(later: float) -> None:
    waker, now = Waker(), asyncio.get_running_loop().time()
    first = await waiting(waker, now + 0.02)
    waker.wake()
    await first
    assert await (await waiting(waker, now + 0.02 + later)) >= now + 0.02 + later - 1e-3


async def test_an_earlier_time_replaces_a_later_one() -> None:
    waker, now = Waker(), asyncio.get_running_loop().time()
    first = await waiting(waker, now + 60)
    waker.wake()
    await first
    assert await (await waiting(waker, now + 0.01)) < now + 30


async def test_what_is_done_in_the_tasks_name_does_not_wake_it_but_says_until_when_to_wait() -> None:
    waker, now, done = Waker(), asyncio.get_running_loop().time(), list[int]()
    task = await waiting(waker, None)

    def step() -> float:
        done.append(1)
        return now + 0.02

    waker.spare(step)
    await asyncio.sleep(0)
    assert done == [1]
    assert not task.done()
    assert now + 0.02 - 1e-3 <= await task < now + 30


async def test_a_task_that_is_not_waiting_does_the_work_itself() -> None:
    waker = Waker()
    waker.spare(lambda: pytest.fail("nobody waits: what this raises would come out nowhere"))
    await asyncio.wait_for(waker.wait(None), 5)


async def test_what_is_raised_in_the_tasks_name_comes_out_of_its_wait() -> None:
    waker = Waker()
    task = await waiting(waker, None)

    def step() -> float | None:
        raise RuntimeError("firmware")

    waker.spare(step)
    with pytest.raises(RuntimeError, match="firmware"):
        await task
    waker.wake()
    await waker.wait(None)
