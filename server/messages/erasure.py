"""Erasures: messages to what storage erases, and receipts to messages."""

from datetime import UTC, datetime, timedelta

from data_analytics.v1 import analytics_event_service_pb2 as pb
from server.messages.refusals import InvalidRequest
from server.messages.times import parse_time
from server.messages.validation import check, find_violations
from server.messages.wording import BLOCK_WITHOUT_USER, ENTITY_TYPE, IN_THE_FUTURE, NOT_A_TIME, NOT_ONE_FILTER
from storage import Erasure, Receipt


def to_erasure(request: pb.EraseAnalyticsEventsRequest) -> Erasure:
    """Return what a request asks to erase.

    Raises:
        InvalidRequest: it breaks a rule.
    """
    violations = find_violations(request)
    now = datetime.now(UTC)
    before = None
    if request.created_before and not (before := parse_time(request.created_before)):
        violations.append(NOT_A_TIME)
    if before and before > now:
        violations.append(IN_THE_FUTURE)
    has_days = request.HasField("older_than_days")
    if has_days and not violations:
        before = now - timedelta(days=request.older_than_days)
    if bool(request.entity_id) != (request.entity_type in ("lead", "contact")) or (
        request.entity_type and not request.entity_id
    ):
        violations.append(ENTITY_TYPE)
    # An empty text is no filter, so that nothing is erased by mistake.
    filters = (request.all_events, request.user_id, request.entity_id, has_days, request.created_before)
    if sum(map(bool, filters)) != 1:
        violations.append(NOT_ONE_FILTER)
    if request.block_later and not request.user_id:
        violations.append(BLOCK_WITHOUT_USER)
    if violations:
        raise InvalidRequest(violations)
    return Erasure(
        request.customer_id,
        request.all_events,
        request.user_id,
        request.entity_type,
        request.entity_id,
        before.isoformat() if before else "",
        request.block_later,
    )


def to_receipt_id(request: pb.GetErasureRequest) -> tuple[str, str]:
    """Return the customer and the id of the receipt that a request asks for.

    Raises:
        InvalidRequest: it breaks a rule.
    """
    check(request)
    return request.customer_id, request.id


def to_message(receipt: Receipt) -> pb.Erasure:
    """Return a receipt as a message."""
    return pb.Erasure(**{field.name: getattr(receipt, field.name) for field in pb.Erasure.DESCRIPTOR.fields})
