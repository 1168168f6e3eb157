"""One create, from the bytes of its request to the bytes of its response."""

from collections.abc import Sequence
from typing import Any

from server.messages.convert import CreateKind
from server.messages.parse import parse
from server.messages.refusals import KEY_METADATA, InvalidRequest, find_event_violation
from storage import KeyReused, Outcome, Row, StorageError, encode_row


class Create:
    """The work of one create. Parsing, checking and converting wait until a commit takes it."""

    __slots__ = ("_data", "_event_id", "_key", "_kind", "byte_size", "is_replayed")
    event_count = 1

    def __init__(self, kind: CreateKind[Any], data: bytes, key: str) -> None:
        """Prepare to store an event.

        Args:
            kind: the kind of create.
            data: the request.
            key: the idempotency key in the call's metadata, or "".
        """
        self._kind = kind
        self._data = data
        self._key = key
        self.byte_size = len(data)
        self.is_replayed = False
        """Whether the response is that of an earlier create with the same key. Known once there is a response."""

    def make_rows(self) -> list[Row]:
        """Return the event's row.

        Raises:
            MalformedMessage: the request does not parse.
            InvalidRequest: it breaks a rule.
        """
        event = self._kind.to_event(parse(self._kind.request, self._data), self._key)
        self._event_id = event.id
        return [encode_row(event)]

    def make_response(self, outcomes: Sequence[Outcome]) -> bytes:
        """Return the response: that of the earlier create if the event was stored before.

        Raises:
            InvalidRequest: the key in the metadata belongs to another event.
            StorageError: the event is not stored, or not known to be.
        """
        (outcome,) = outcomes
        if isinstance(outcome, StorageError):
            if isinstance(outcome, KeyReused) and self._key and (violation := find_event_violation(outcome)):
                raise InvalidRequest([violation._replace(field=KEY_METADATA)])  # Named as the caller sent it.
            raise outcome
        self.is_replayed = outcome.id != self._event_id
        return self._kind.to_response(outcome).SerializeToString()
