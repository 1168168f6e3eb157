"""Turns: a few places that customers get one after the other."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from server.sharing.turns import Turns


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on an event loop of its own."""

    async def limited() -> None:
        async with asyncio.timeout(10):
            await test()

    asyncio.run(limited())


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


class Queue:
    """Callers of one `Turns`, each of which stays until it is told to leave."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.inside: list[str] = []

    async def enter(self, *names: str) -> None:
        """Let callers come, named by their customer and a number."""
        for name in names:
            self._leave[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._stay(name))
            await settle()

    async def leave(self, name: str) -> None:
        """Let a caller go."""
        self._leave[name].set()
        await settle()

    async def _stay(self, name: str) -> None:
        async with self._turns.wait(name[0]):
            self.inside.append(name)
            await self._leave[name].wait()
        self.inside.remove(name)


def test_customers_get_places_in_turn_whoever_came_first() -> None:
    async def test() -> None:
        queue = Queue(Turns(1, places_each=1))
        await queue.enter("a1", "a2", "a3", "b1", "c1")
        order = []
        while queue.inside:
            (name,) = queue.inside
            order.append(name)
            await queue.leave(name)
        assert order == ["a1", "a2", "b1", "c1", "a3"]

    run(test)


def test_a_customer_has_no_more_places_than_its_part() -> None:
    async def test() -> None:
        queue = Queue(Turns(4, places_each=2))
        await queue.enter("a1", "a2", "a3", "a4")
        assert queue.inside == ["a1", "a2"]
        await queue.enter("b1", "b2", "b3")
        assert queue.inside == ["a1", "a2", "b1", "b2"]
        await queue.leave("a2")
        assert queue.inside == ["a1", "b1", "b2", "a3"]

    run(test)


@pytest.mark.parametrize("cancelled", ["a1", "a2", "b1"])
def test_a_caller_that_has_gone_leaves_its_place_to_the_next(cancelled: str) -> None:
    async def test() -> None:
        queue = Queue(Turns(1, places_each=1))
        await queue.enter("a1", "a2", "b1")
        queue.tasks[cancelled].cancel()
        await settle()
        served: set[str] = set()
        while queue.tasks.keys() - served - {cancelled}:
            (name,) = [each for each in queue.inside if not queue.tasks[each].done()]
            served.add(name)
            await queue.leave(name)
        await queue.enter("c1")
        assert "c1" in queue.inside

    run(test)


def test_a_caller_that_goes_as_it_gets_its_place_gives_it_back() -> None:
    async def test() -> None:
        turns = Turns(1, places_each=1)
        first = turns.wait("a")
        await first.__aenter__()
        second = asyncio.create_task(turns.wait("a").__aenter__())
        await settle()
        await first.__aexit__(None, None, None)  # It has given its place to the second by now.
        second.cancel()
        await settle()
        async with turns.wait("b"):
            pass

    run(test)
