"""Where passwords are hashed."""

from __future__ import annotations

import asyncio
import threading

import pytest

from orion_core.contracts.auth import HashingBusy
from orion_core.testing.engines import until
from orion_plugins.auth.hashing import HashingPool, cores


async def test_beyond_the_queue_hashing_is_refused_with_a_time_to_ask_again() -> None:
    """A6."""
    pool, release = HashingPool(queue=2, threads=1), threading.Event()
    try:
        held = [asyncio.ensure_future(pool.run(release.wait, 10)) for _ in range(3)]
        await asyncio.sleep(0)

        with pytest.raises(HashingBusy) as refused:
            await pool.run(release.wait, 10)

        assert refused.value.status == 503
        assert refused.value.retry_after == 1.0
        release.set()
        assert await asyncio.gather(*held) == [True, True, True]
        assert await pool.run(sum, [1, 2]) == 3
    finally:
        release.set()
        pool.close()


async def test_at_most_as_many_run_at_once_as_there_are_threads() -> None:
    """A6."""
    pool = HashingPool(queue=100)
    running, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(cores(), timeout=10)

    def work(wait: bool) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if wait:
            together.wait()
        with lock:
            running -= 1

    try:
        await asyncio.gather(*(pool.run(work, index < cores()) for index in range(50)))
    finally:
        pool.close()
    assert most == cores()


async def test_a_caller_who_leaves_while_waiting_gives_the_place_free() -> None:
    """A6."""
    pool, release = HashingPool(queue=1, threads=1), threading.Event()
    try:
        running = asyncio.ensure_future(pool.run(release.wait, 10))
        waiting = asyncio.ensure_future(pool.run(release.wait, 10))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: _inside(pool, 1), "the place is free")

        release.set()
        assert await asyncio.gather(running, pool.run(release.wait, 10)) == [True, True]
    finally:
        release.set()
        pool.close()


async def test_an_error_of_the_computation_reaches_the_caller_and_frees_the_place() -> None:
    """A6."""
    pool = HashingPool(queue=0, threads=1)
    try:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await pool.run(divmod, 1, 0)
            await until(lambda: _inside(pool, 0), "the place is free")
    finally:
        pool.close()


async def _inside(pool: HashingPool, count: int) -> bool:
    return pool.inside == count
