import asyncio
import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from trunkline.model import MS, SECOND, LocalError, Nanos
from trunkline.testing import VirtualClock, settle, wait_until
from trunkline.testing.clock import EPOCH, HORIZON, START
from trunkline.testing.loop import LoopWatch


async def test_an_hour_passes_at_once_and_in_order(virtual_clock: VirtualClock) -> None:
    woke: list[tuple[str, int]] = []

    async def sleeper(name: str, after: int) -> None:
        await virtual_clock.sleep_until(Nanos(START + after))
        woke.append((name, virtual_clock.now() - START))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("hour", 3600 * SECOND))
        tasks.create_task(sleeper("blink", MS))
        tasks.create_task(sleeper("minute", 60 * SECOND))
    assert woke == [("blink", MS), ("minute", 60 * SECOND), ("hour", 3600 * SECOND)]


async def test_time_does_not_move_while_a_task_can_run(virtual_clock: VirtualClock) -> None:
    seen: list[int] = []

    async def busy() -> None:
        for _ in range(200):
            step = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(step.set_result, None)
            await step
            seen.append(virtual_clock.now())

    task = asyncio.create_task(busy())
    await virtual_clock.sleep_until(Nanos(START + SECOND))
    await task
    assert set(seen) == {START}


async def test_time_waits_for_a_working_thread(virtual_clock: VirtualClock) -> None:
    started, go_on = threading.Event(), threading.Event()

    def work() -> int:
        started.set()
        total = 0
        for number in range(2_000_000):
            total += number
        go_on.set()
        return virtual_clock.now()

    sleeper = asyncio.create_task(virtual_clock.sleep_until(Nanos(START + SECOND)))
    assert await asyncio.to_thread(work) == START
    await sleeper
    assert started.is_set()
    assert go_on.is_set()


async def test_time_waits_for_work_that_a_sleeping_thread_was_just_given(virtual_clock: VirtualClock) -> None:
    with ThreadPoolExecutor(1) as pool:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(pool, int)
        for _ in range(200):
            before = virtual_clock.now()
            deadline = asyncio.create_task(virtual_clock.sleep_until(Nanos(before + SECOND)))
            assert await loop.run_in_executor(pool, virtual_clock.now) == before
            await deadline


async def test_wall_time_follows(virtual_clock: VirtualClock) -> None:
    await virtual_clock.sleep_until(Nanos(START + 90 * SECOND))
    assert virtual_clock.wall() == EPOCH + dt.timedelta(seconds=90)


async def test_a_deadline_in_the_past_still_yields(virtual_clock: VirtualClock) -> None:
    order: list[str] = []
    asyncio.get_running_loop().call_soon(order.append, "other")
    await virtual_clock.sleep_until(Nanos(0))
    order.append("me")
    assert order == ["other", "me"]
    assert virtual_clock.now() == START


async def test_advance_stops_at_each_deadline() -> None:
    clock = VirtualClock(autojump=False)
    ticks: list[int] = []

    async def every_20_ms() -> None:
        due = clock.now()
        while True:
            due = Nanos(due + 20 * MS)
            await clock.sleep_until(due)
            ticks.append(clock.now() - START)

    task = asyncio.create_task(every_20_ms())
    await clock.advance(90 * MS)
    assert ticks == [20 * MS, 40 * MS, 60 * MS, 80 * MS]
    assert clock.now() == START + 90 * MS
    assert clock.sleepers() == 1
    task.cancel()
    await settle()
    assert clock.next_deadline() is None


async def test_autojump_ends_at_the_horizon(virtual_clock: VirtualClock) -> None:
    far = asyncio.create_task(virtual_clock.sleep_until(Nanos(START + HORIZON + 1)))
    await settle()
    assert virtual_clock.now() == START
    far.cancel()


def test_a_clock_without_a_loop_is_moved_by_hand() -> None:
    clock = VirtualClock()
    assert clock.tick(5 * MS) == START + 5 * MS
    with pytest.raises(ValueError, match="back"):
        clock.tick(-1)


async def test_wait_until_sees_what_a_task_does(virtual_clock: VirtualClock) -> None:
    done: list[int] = []

    async def later() -> None:
        await virtual_clock.sleep_until(Nanos(START + SECOND))
        done.append(1)

    task = asyncio.create_task(later())
    await wait_until(lambda: bool(done))
    await task


async def test_wait_until_gives_up_with_a_name() -> None:
    with pytest.raises(AssertionError, match="pigs fly"):
        await wait_until(lambda: False, "pigs fly", guard_s=0.01)


async def test_wait_until_raises_what_its_condition_raises() -> None:
    calls: list[int] = []

    def broken() -> bool:
        calls.append(1)
        if len(calls) > 1:
            raise KeyError("gone")
        return False

    with pytest.raises(KeyError, match="gone"):
        await wait_until(broken)


def test_a_loop_without_a_selector_is_refused() -> None:
    class Odd(asyncio.AbstractEventLoop):
        pass

    with pytest.raises(LocalError, match="cannot be watched"):
        LoopWatch.of(Odd())
