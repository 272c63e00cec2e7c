"""Background work goes on whatever happens to one step of it, and is always awaited."""

from __future__ import annotations

import asyncio

import pytest

from orion_core.background import Looper, end, spawn, together


async def test_a_loop_goes_on_after_errors_and_after_cancellations_that_are_not_its_own() -> None:
    """A driver that cancels what it waits for must not end a relay: nobody would start it again."""
    outcomes = iter([RuntimeError("no"), asyncio.CancelledError()])
    done = asyncio.Event()

    async def step() -> bool:
        error = next(outcomes, None)
        if error is not None:
            raise error
        done.set()
        return False

    loop = Looper("test", step, 0.001)
    loop.start()
    async with asyncio.timeout(10):
        await done.wait()
    await loop.stop()
    assert list(outcomes) == []


async def test_a_loop_that_is_woken_during_a_step_takes_another() -> None:
    steps, second = 0, asyncio.Event()

    async def step() -> bool:
        nonlocal steps
        steps += 1
        if steps == 1:
            loop.wake()
            await asyncio.sleep(0)
        else:
            second.set()
        return False

    loop = Looper("test", step, 3600)
    loop.start()
    async with asyncio.timeout(10):
        await second.wait()
    await loop.stop()
    assert steps >= 2


async def test_stopping_lets_the_running_step_end_and_cancels_it_after_its_grace() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def short() -> bool:
        begun.set()
        await asyncio.sleep(0)
        ended.set()
        return True

    loop = Looper("short", short, 3600)
    loop.start()
    await begun.wait()
    await loop.stop()
    assert ended.is_set()

    async def long() -> bool:
        begun.set()
        await asyncio.Event().wait()
        return True

    begun.clear()
    tasks = asyncio.all_tasks()
    loop = Looper("long", long, 3600)
    loop.start()
    await begun.wait()
    await loop.stop(0)
    assert asyncio.all_tasks() == tasks


async def test_ended_tasks_are_awaited_and_their_errors_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("not so fast") from None

    task = spawn(stubborn(), "stubborn")
    await asyncio.sleep(0)
    await end(task)

    assert task.done()
    assert "a background task ended with an error" in caplog.text


async def test_all_are_stopped_even_if_one_fails() -> None:
    stopped: list[str] = []

    async def fails() -> None:
        raise RuntimeError("no")

    async def stops() -> None:
        await asyncio.sleep(0)
        stopped.append("x")

    with pytest.raises(RuntimeError, match="no"):
        await together([fails, stops, stops])
    assert stopped == ["x", "x"]
