"""Lists of refusals: messages to queries, and refusals to messages."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from data_analytics.v1 import refusal_pb2 as pb
from server.messages.page_token import Position, make_token, read_token
from server.messages.refusals import FieldViolation, InvalidRequest
from server.messages.times import parse_milliseconds
from server.messages.validation import find_violations
from server.messages.wording import NOT_A_TIME_TEXT, NOT_THIS_TOKEN
from storage import Refusal, RefusalQuery
from storage.ids import FIRST, LAST, make_bound, to_time

DEFAULT_PAGE_SIZE = 50

# Each has 3 KB at the most.
_PART_REFUSALS = 200


class RefusalRequest(NamedTuple):
    """A list of refusals that a caller asks for."""

    query: RefusalQuery
    asked: Sequence[str]
    """What its tokens belong to."""


class RefusalPage(NamedTuple):
    """One page of refusals."""

    refusals: Sequence[Refusal]
    next_token: str
    """The token of the page after this one, or "" if this is the last one."""

    def slice(self) -> Iterator[slice]:
        """Yield the places of refusals that are printed at once: at least one, though it may be empty."""
        for start in range(0, len(self.refusals) or 1, _PART_REFUSALS):
            yield slice(start, min(start + _PART_REFUSALS, len(self.refusals)))


def to_refusal_request(request: pb.ListRefusalsRequest) -> RefusalRequest:
    """Return the list that a message asks for.

    Raises:
        InvalidRequest: it breaks a rule.
    """
    violations = find_violations(request)
    since_id, before_id = FIRST, LAST
    if request.since:
        milliseconds = parse_milliseconds(request.since)
        if milliseconds is None:
            violations.append(FieldViolation("since", NOT_A_TIME_TEXT))
        else:
            since_id = make_bound(milliseconds)
    asked = ("refusals", request.customer_id, since_id, str(request.include_replays))
    if request.page_token and not violations:
        position = read_token(request.page_token, asked)
        if position is None:
            violations.append(NOT_THIS_TOKEN)
        else:
            before_id = position.before_id
    if violations:
        raise InvalidRequest(violations)
    size = request.page_size if request.HasField("page_size") else DEFAULT_PAGE_SIZE
    query = RefusalQuery(request.customer_id, since_id, before_id, request.include_replays, size)
    return RefusalRequest(query, asked)


def to_refusal_page(request: RefusalRequest, found: Sequence[Refusal]) -> RefusalPage:
    """Return the page of what was found, which is one refusal more if there is a next page."""
    size = request.query.page_size
    token = make_token(Position(found[size - 1].id), request.asked) if len(found) > size else ""
    return RefusalPage(found[:size], token)


def encode_refusals(page: RefusalPage) -> Iterator[bytes]:
    """Yield the bytes of the response that carries a page, in parts."""
    for part in page.slice():
        response = pb.ListRefusalsResponse(refusals=map(_encode_refusal, page.refusals[part]))
        if part.stop == len(page.refusals):
            response.next_page_token = page.next_token
        # Parsers read messages that follow each other as one, with the refusals of them all.
        yield response.SerializeToString()


def _encode_refusal(refusal: Refusal) -> pb.Refusal:
    values: dict[str, Any] = refusal._asdict()
    values["violations"] = json.loads(refusal.violations)
    values["replayed_event_id"] = refusal.replayed_event_id or None
    return pb.Refusal(created_at=to_time(refusal.id), **values)
