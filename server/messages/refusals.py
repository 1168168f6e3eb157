"""The exceptions that stand for a refusal. `statuses` says what a caller gets for each, `wording` has the words."""

from typing import NamedTuple

KEY_METADATA = "idempotency-key"
"""The metadata (over HTTP, the header) that carries a create's idempotency key."""

KEY_FIELD = "idempotency_key"

# Error details travel in trailers, of which a client accepts 8 KiB. This many violations fit with room to spare.
MAX_VIOLATIONS = 30
"""The number of violations that a caller is told of."""


class FieldViolation(NamedTuple):
    """One thing wrong with one field."""

    field: str
    """The path of the field in proto names, such as `page_size` or `recording_id[3]`. Empty for the whole request."""
    description: str


class Reporter(NamedTuple):
    """The customer and tool that a refused event names. Neither is checked."""

    customer_id: str = ""
    tool_signature: str = ""


UNKNOWN_REPORTER = Reporter()


class InvalidRequest(Exception):
    """A request that breaks rules, with all the rules that it breaks."""

    def __init__(self, violations: list[FieldViolation], reporter: Reporter = UNKNOWN_REPORTER) -> None:
        super().__init__()
        self.violations = violations
        self.reporter = reporter


class MalformedMessage(Exception):
    """The bytes of a request do not parse as the message that the RPC takes."""


class MessageTooLarge(Exception):
    """A request is larger than its RPC accepts."""


class UnsupportedEncoding(Exception):
    """The body of a request is compressed in a way that is not supported."""


class RequestLate(Exception):
    """The request has not arrived in time. Nothing was done for it."""


class TooManyCalls(Exception):
    """The server has as many calls in flight as it accepts. It did nothing for this one."""


class TooManyWaiting(Exception):
    """The write queue is full. Nothing was stored."""


class DeadlineTooShort(Exception):
    """The write queue is longer than the call's deadline. Nothing was stored."""


class ErasureNotFound(Exception):
    """The customer has no erasure with the id that was asked for."""


class EventNotFound(Exception):
    """The customer has no event with the id that was asked for, or none that the caller may read."""


def forget_frames(error: BaseException | None) -> None:
    """Let go of the frames that an error has passed through, and with them of the request.

    A frame and the error that has passed it often refer to each other, by way of a future. Only the garbage collector
    would free them, and it looks rarely.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
