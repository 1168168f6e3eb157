"""The requests of a stream, as its handler iterates over them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from server.transport.call import Call, CallGone
from server.transport.core import NO_FLAGS, ReceiveMessage


class UnreadableRequest(Exception):
    """The bytes of a request do not parse as what the handler takes."""


def parse(deserialize: Any, message: bytes) -> Any:
    """Return the request that `deserialize`, or nothing if it is None, makes of a message.

    Raises:
        UnreadableRequest: it fails.
    """
    if deserialize is None:
        return message
    try:
        return deserialize(message)
    except Exception as error:
        raise UnreadableRequest from error


class Requests(AsyncIterator[Any]):
    """The requests of a stream. None is received before it is asked for: a slow handler slows its caller down."""

    def __init__(self, call: Call, deserialize: Any) -> None:
        self._call = call
        self._deserialize = deserialize
        # C-core receives one message at a time.
        self._turn = asyncio.Lock()
        self._incoming: asyncio.Future[bytes | None] | None = None

    async def __anext__(self) -> Any:
        message = await self._receive()
        if message is None:
            raise StopAsyncIteration
        return parse(self._deserialize, message)

    async def _receive(self) -> bytes | None:
        """Return the next message, or None if there is no more or the caller has gone.

        If it is cancelled while a message is on its way, the next one who asks gets that message.
        """
        async with self._turn:
            if self._incoming is None:
                incoming: asyncio.Future[bytes | None] = self._call.calls.loop.create_future()

                # The future keeps the message, not the event. An event refers to its function, and so to the future: if
                # the future kept the event, only the garbage collector would free the two.
                def set_message(event: Any) -> None:
                    incoming.set_result(event.batch_operations[0].message())

                try:
                    self._call.start_batch((ReceiveMessage(NO_FLAGS),), set_message)
                except CallGone:
                    return None
                self._incoming = incoming
            message = await asyncio.shield(self._incoming)
            self._incoming = None
        return message
