"""The places for messages on their way in, and the time limit of many things, each on a real event loop."""

import asyncio
from collections.abc import Callable

from server.transport.gate import Gate
from server.transport.time_limit import TimeLimit


class Seen:
    """A gate, and what it has let in and cut off."""

    def __init__(
        self,
        places: int,
        slow_places: int,
        get_address: Callable[[int], str] = str,
        large_places: int | None = None,
    ) -> None:
        self.entered: list[int] = []
        self.cut: list[int] = []
        self.gate: Gate[int] = Gate(
            asyncio.get_running_loop(),
            places=places,
            large_places=places if large_places is None else large_places,
            slow_places=slow_places,
            get_address=get_address,
            on_enter=self.entered.append,
            on_slow=self.cut.append,
        )

    def enter(self, *numbers: int) -> None:
        """Let calls ask for a place."""
        for number in numbers:
            self.gate.enter(number)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what changes it knows of no event
            await asyncio.sleep(0.01)


def test_a_place_goes_to_whoever_came_last() -> None:
    async def check() -> None:
        seen = Seen(2, 2)
        seen.enter(1, 2, 3, 4, 5)
        assert seen.entered == [1, 2]
        seen.gate.leave(4)
        seen.gate.leave(1)
        assert seen.entered == [1, 2, 5]
        assert seen.gate.drop() == 3
        assert seen.gate.drop() is None
        seen.gate.leave(5)
        seen.gate.leave(2)
        assert seen.entered == [1, 2, 5]
        assert seen.cut == []
        seen.gate.close()

    asyncio.run(check())


def test_an_address_gets_no_more_places_than_are_left_for_others() -> None:
    async def check() -> None:
        seen = Seen(8, 8, lambda number: f"address {number // 100}")
        seen.enter(*range(10))
        assert seen.entered == [0, 1, 2, 3]
        seen.enter(*range(100, 110))
        assert seen.entered[4:] == [100, 101]
        seen.enter(200)
        assert seen.entered[6:] == [200]
        # A place that becomes free goes to a connection that may have it, and the turn passes on.
        seen.gate.leave(200)
        seen.gate.leave(0)
        seen.gate.leave(1)
        assert seen.entered[7:] == [109, 9]
        assert seen.gate.drop() == 102
        seen.gate.close()

    asyncio.run(check())


def test_most_places_are_for_addresses_whose_messages_are_small() -> None:
    async def check() -> None:
        seen = Seen(32, 32, lambda number: f"address {number // 100}", large_places=4)
        seen.enter(*range(8))
        assert seen.entered == [0, 1]
        seen.enter(100)
        assert seen.entered[2:] == [100]
        seen.gate.leave(0, 1_000)
        assert seen.entered[3:] == [7, 6, 5, 4, 3, 2]
        seen.enter(101, 102)
        assert seen.entered[9:] == [101]
        seen.gate.leave(100, 8_000_000)
        assert seen.entered[10:] == [102]
        seen.enter(103, 104)
        assert seen.entered[11:] == []
        seen.gate.leave(102, 64_000)
        assert seen.entered[11:] == [104, 103]
        seen.gate.close()

    asyncio.run(check())


def test_calls_whose_messages_come_whole_need_no_place() -> None:
    async def check() -> None:
        seen = Seen(4, 4, lambda number: "" if number % 2 else f"{number}", large_places=2)
        seen.enter(*range(0, 20, 2))
        seen.enter(*range(1, 21, 2))
        assert seen.entered == [0, 2, *range(1, 21, 2)]
        for number in range(20):
            seen.gate.leave(number)
        assert seen.cut == []
        seen.gate.close()

    asyncio.run(check())


def test_nobody_is_cut_off_while_nobody_waits_and_few_are_slow() -> None:
    async def check() -> None:
        seen = Seen(4, 2)
        seen.enter(1, 2)
        await asyncio.sleep(0.6)
        seen.enter(3, 4)
        assert seen.cut == []
        await until(lambda: seen.cut == [1, 2])
        seen.gate.close()

    asyncio.run(check())


def test_the_slowest_make_room_for_those_who_wait() -> None:
    async def check() -> None:
        seen = Seen(3, 3)
        seen.enter(1)
        await asyncio.sleep(1.0)
        seen.enter(2, 3)
        seen.enter(4)
        assert (seen.entered, seen.cut) == ([1, 2, 3, 4], [1])
        seen.enter(5, 6)
        assert seen.entered == [1, 2, 3, 4]
        await until(lambda: seen.entered == [1, 2, 3, 4, 6, 5])
        assert seen.cut == [1, 2, 3]
        seen.gate.close()

    asyncio.run(check())


def test_one_address_that_waits_costs_no_other_its_slow_call() -> None:
    async def check() -> None:
        seen = Seen(8, 8, lambda number: f"address {number // 100}")
        seen.enter(500)
        seen.enter(*range(40))
        await until(lambda: len(seen.entered) == 41)
        assert 500 not in seen.cut
        seen.gate.close()

    asyncio.run(check())


def test_many_who_wait_are_let_in_one_after_the_other() -> None:
    async def check() -> None:
        seen = Seen(8, 2)
        seen.enter(*range(40))
        await until(lambda: len(seen.entered) == 40)
        order = [*range(8), *range(39, 7, -1)]
        assert seen.entered == order
        # Those who never leave are cut off in turn, down to the slow places.
        await until(lambda: seen.cut == order[:38])
        seen.gate.close()

    asyncio.run(check())


def test_a_time_limit_tells_what_is_late_once_and_in_order() -> None:
    async def check() -> None:
        late: list[int] = []
        limit: TimeLimit[int] = TimeLimit(asyncio.get_running_loop(), 0.2, late.append)
        for number in range(10):
            limit.start(number)
            limit.start(number)
        limit.end(3)
        limit.end(99)
        await asyncio.sleep(0.1)
        limit.start(10)
        await until(lambda: bool(late))
        assert late == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        limit.start(0)
        await until(lambda: len(late) == 11)
        assert late[9:] == [10, 0]
        limit.start(11)
        limit.close()
        await asyncio.sleep(0.4)
        assert len(late) == 11

    asyncio.run(check())


def test_what_is_late_may_begin_and_end_others() -> None:
    async def check() -> None:
        late: list[int] = []

        def on_late(number: int) -> None:
            late.append(number)
            limit.end(number + 1)
            if number < 10:
                limit.start(number + 10)

        limit: TimeLimit[int] = TimeLimit(asyncio.get_running_loop(), 0.05, on_late)
        for number in range(4):
            limit.start(number)
        await until(lambda: len(late) == 4)
        assert late == [0, 2, 10, 12]

    asyncio.run(check())
