"""The streams that are open: how many of whose, and what ends them."""

import asyncio

import pytest

from server.sharing.open_streams import OpenStreams, ServerStopping
from server.sharing.places import NoPlace


def test_a_customer_holds_no_more_than_its_share_and_gives_it_back() -> None:
    async def use() -> None:
        streams = OpenStreams(10, 2)
        async with streams.enter("a"), streams.enter("a"), streams.enter("b"):
            with pytest.raises(NoPlace):
                await hold(streams, "a")
            await hold(streams, "b")
        await hold(streams, "a")

    asyncio.run(use())


async def hold(streams: OpenStreams, customer: str, seconds: float = 0.0) -> None:
    async with streams.enter(customer):
        await asyncio.sleep(seconds)


def test_a_stop_ends_all_streams_and_lets_none_begin() -> None:
    async def use() -> None:
        streams = OpenStreams(10, 2)
        tasks = [asyncio.create_task(hold(streams, customer, 60)) for customer in "aab"]
        await asyncio.sleep(0)
        streams.stop()
        streams.stop()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ServerStopping] * 3
        with pytest.raises(ServerStopping):
            await hold(streams, "c")

    asyncio.run(use())


def test_what_a_stream_raises_itself_passes_and_frees_its_place() -> None:
    async def use() -> None:
        streams = OpenStreams(4, 2)
        for error in (TimeoutError, ValueError) * 3:
            with pytest.raises(error):
                async with streams.enter("a"):
                    raise error
        await hold(streams, "a")

    asyncio.run(use())
