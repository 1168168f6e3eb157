"""One create, from the bytes of its request to the bytes of its response."""

from collections.abc import Sequence
from typing import Any, Protocol

from server.access.caller import Caller, NotPermitted
from server.messages.convert import CreateKind
from server.messages.json_codec.create import CreateReader
from server.messages.json_codec.format import CreateFormatter
from server.messages.parse import parse_create
from server.messages.refusals import KEY_METADATA, InvalidRequest
from server.messages.statuses import find_event_violation
from storage import Event, KeyErased, KeyReused, Outcome, Row, StorageError, encode_row


class CreateCodec(Protocol):
    """The form of a create's request and response: messages or JSON."""

    def read(self, data: bytes, key: str) -> tuple[Event, Sequence[str]]:
        """Return the event that a request asks to store, and the names of fields that are ignored.

        Args:
            data: the request.
            key: the idempotency key in the call's metadata, or "".

        Raises:
            MalformedMessage: the request does not parse.
            InvalidRequest: it breaks a rule.
        """

    def format(self, event: Event) -> bytes:
        """Return the response once the event is stored."""


class MessageCodec:
    """The codec of one kind of create for protobuf messages."""

    def __init__(self, kind: CreateKind[Any]) -> None:
        self._kind = kind

    def read(self, data: bytes, key: str) -> tuple[Event, Sequence[str]]:
        """Return the event that the message `data` asks to store. Unknown fields of a message are not looked at."""
        return self._kind.to_event(parse_create(self._kind.request, data), key), ()

    def format(self, event: Event) -> bytes:
        """Return the response as a message."""
        return self._kind.to_response(event).SerializeToString()


class JsonCodec:
    """The codec of one kind of create for JSON."""

    def __init__(self, kind: CreateKind[Any], *, ignore_unknown: bool) -> None:
        self.read = CreateReader(kind, ignore_unknown=ignore_unknown).read
        self.format = CreateFormatter(kind).format


class Create:
    """The work of one create. Reading, checking and converting wait until a commit takes it."""

    __slots__ = ("_caller", "_codec", "_data", "_event_id", "_key", "byte_size", "customer", "ignored", "replayed")
    event_count = 1

    def __init__(self, codec: CreateCodec, data: bytes, key: str, customer: str, caller: Caller) -> None:
        """Prepare to store an event.

        Args:
            codec: the form of the request and of the response.
            data: the request.
            key: the idempotency key in the call's metadata, or "".
            customer: whose share of the queue it takes.
            caller: who asks for it.
        """
        self._caller = caller
        self._codec = codec
        self._data = data
        self._key = key
        self.customer = customer
        self.byte_size = len(data)
        self.replayed: Event | None = None
        """The event that was stored before, if the response is that of an earlier create with the same key. Known once
        there is a response."""
        self.ignored: Sequence[str] = ()
        """The names of fields that were ignored. Known once there is a response."""

    def make_rows(self) -> list[Row]:
        """Return the event's row.

        Raises:
            MalformedMessage: the request does not parse.
            InvalidRequest: it breaks a rule.
            NotPermitted: the caller may not store this event.
        """
        event, self.ignored = self._codec.read(self._data, self._key)
        if not self._caller.may_write(event.customer_id, event.user_id):
            raise NotPermitted
        self._event_id = event.id
        return [encode_row(event)]

    def make_response(self, outcomes: Sequence[Outcome]) -> bytes:
        """Return the response: that of the earlier create if the event was stored before.

        Raises:
            InvalidRequest: the key in the metadata belongs to another event, or to one that was erased.
            StorageError: the event is not stored, or not known to be.
        """
        (outcome,) = outcomes
        if isinstance(outcome, StorageError):
            is_of_key = isinstance(outcome, KeyReused | KeyErased)
            if is_of_key and self._key and (violation := find_event_violation(outcome)):
                raise InvalidRequest([violation._replace(field=KEY_METADATA)])  # Named as the caller sent it.
            raise outcome
        if outcome.id != self._event_id:
            self.replayed = outcome
        return self._codec.format(outcome)
