import asyncio
import threading

from agents.corpus.background import beside_the_loop


async def test_one_computation_runs_at_a_time_in_the_order_given() -> None:
    running, most, order = 0, 0, []
    guard = threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        sum(range(20_000))
        with guard:
            running -= 1
            order.append(number)
        return number

    assert await asyncio.gather(*(beside_the_loop(work, n) for n in range(20))) == list(range(20))
    assert (most, order) == (1, list(range(20)))


async def test_the_loop_goes_on_meanwhile() -> None:
    gate = threading.Event()
    waiting = asyncio.create_task(beside_the_loop(gate.wait, timeout=10))
    await asyncio.sleep(0)
    gate.set()  # by the loop, which is not held
    assert await waiting
