"""The RPCs that create one event. They take and give bytes: what many callers sent is read, and answered, in one pass.

To parse a request, check it, and make its row and its answer is done for all callers of a batch at a time, by
`storage.Writer`. Done for each when it comes, in between grpc's own work, the same code takes three times as long.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import grpc.aio
from google.protobuf.message import DecodeError, Message

from server.ingest.batch import KEY_REUSED
from server.ingest.group_commit import Writer
from server.messages.validation import FieldViolation, InvalidRequest
from server.rpc.errors import MalformedMessage, TooSlow
from storage import Event, KeyReused, Outcome, Row, StorageError, row

KEY = "idempotency-key"
"""The metadata (by HTTP, the header) that names an event, so that it can be sent again without being stored again."""

# The metadata of an answer that was given before.
_REPLAYED = (("idempotency-replayed", "true"),)

T = TypeVar("T", bound=Message)


# Shorter waits are not worth asking for a deadline.
_SHORT_SECONDS = 0.1

# For a caller that has set no deadline. By HTTP, Envoy gives up after 15.
_PATIENCE_SECONDS = 10.0


def check_time(writer: Writer, context: Any) -> None:
    """Raises TooSlow if what is given to `writer` now cannot be expected to be written by the deadline of the call."""
    expected = writer.expected_seconds()
    if expected > _SHORT_SECONDS:
        remaining = context.time_remaining()
        if expected > (_PATIENCE_SECONDS if remaining is None else remaining):
            raise TooSlow


def parsed(kind: type[T], data: bytes) -> T:
    """The message of that type that `data` is. Raises MalformedMessage if it is none."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise MalformedMessage from None


class Creates(Generic[T]):
    """Answers one RPC, from bytes to bytes."""

    def __init__(
        self,
        writer: Writer,
        request: type[T],
        event_of: Callable[[T, str], Event],
        answer_of: Callable[[Event], Message],
    ) -> None:
        """Makes the RPC out of its parts.

        Args:
            writer: where the events go.
            request: the message that the RPC takes.
            event_of: what it asks to store, with an idempotency key or "". May raise InvalidRequest.
            answer_of: what the RPC answers once an event is stored.
        """
        self._writer = writer
        self.request = request
        self.event_of = event_of
        self.answer_of = answer_of

    async def with_key(self, data: bytes, context: Any) -> bytes:
        """As a call, with the idempotency key that is among the metadata."""
        # Combined as HTTP combines a header that is sent twice.
        return await self(
            data, context, ", ".join([value for name, value in context.invocation_metadata() if name == KEY])
        )

    async def __call__(self, data: bytes, context: Any, key: str = "") -> bytes:
        """Stores the event that `data` asks to store and returns the answer: the first one, if it was stored before.

        Raises:
            MalformedMessage, InvalidRequest, StorageError
        """
        check_time(self._writer, context)
        create = _Create(self, data, key)
        answer = await self._writer.write(create)
        if create.replayed:
            with contextlib.suppress(grpc.aio.InternalError):  # Its caller has gone.
                await context.send_initial_metadata(_REPLAYED)
        return answer


class _Create:
    """One call, as the writer takes it."""

    __slots__ = ("_data", "_id", "_key", "_rpc", "replayed", "size")
    count = 1

    def __init__(self, rpc: "Creates[Any]", data: bytes, key: str) -> None:
        self._rpc = rpc
        self._data = data
        self._key = key
        self.size = len(data)
        self.replayed = False

    def take(self) -> list[Row]:
        event = self._rpc.event_of(parsed(self._rpc.request, self._data), self._key)
        self._id = event.id
        return [row(event)]

    def answer(self, outcomes: Sequence[Outcome]) -> bytes:
        (outcome,) = outcomes
        if isinstance(outcome, KeyReused):
            # It came by either way, and is named as it came.
            raise InvalidRequest([FieldViolation(KEY if self._key else "idempotency_key", KEY_REUSED)])
        if isinstance(outcome, StorageError):
            raise outcome
        self.replayed = outcome.id != self._id
        return self._rpc.answer_of(outcome).SerializeToString()
