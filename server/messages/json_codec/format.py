"""Answers as JSON, printed from events and pages without messages in between.

Every field is there, in the order of its message, with "" for an absent text, and there is no space between. Only what
JSON cannot have in a string is escaped.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import starmap
from operator import itemgetter
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsResponse,
    ListAnalyticsEventsResponse,
)
from data_analytics.v1.analytics_event_service_pb2 import Erasure as ErasureMessage
from data_analytics.v1.event_pb2 import (
    EventOutcome,
    EventRecord,
    EventViolation,
    PageMeta,
    RecordedEvent,
    RefusedEvent,
    StoredEvent,
)
from data_analytics.v1.lead_analytics_service_pb2 import SearchLeadAnalyticsEventsResponse
from data_analytics.v1.refusal_pb2 import ListRefusalsResponse
from data_analytics.v1.refusal_pb2 import Refusal as RefusalMessage
from data_analytics.v1.summary_pb2 import SummarizeAnalyticsEventsResponse, SummaryRow
from server.messages.batch_response import EventResult
from server.messages.convert import CreateKind
from server.messages.listing import ListRequest, slice_events
from server.messages.refusal_list import RefusalPage
from server.messages.refusals import FieldViolation
from server.messages.search import make_next_token, slice_page
from server.messages.summary import slice_groups
from storage import TEXT_COUNT, Event, Found, Group, Listing, Page, Query, Receipt, Refusal, Summary, SummaryQuery
from storage.ids import to_time

_encode = msgspec.json.Encoder().encode


def _make_struct(message: Any, names: Sequence[str] | None = None, *, count: int | None = None) -> Any:
    """Return a struct that is printed as `message` is.

    Args:
        message: the type of message.
        names: its fields in the order of the struct's arguments, if the message may not have others.
        count: how many of them the struct has, if it does not have all.
    """
    descriptor: Descriptor = message.DESCRIPTOR
    fields = [field.name for field in descriptor.fields]
    if names is not None and list(names) != fields:
        raise NotImplementedError(f"{descriptor.full_name}: its fields are not {', '.join(names)}")
    json_names = {field.name: field.json_name for field in descriptor.fields}
    return msgspec.defstruct(descriptor.name, [(name, Any) for name in fields[:count]], rename=json_names, gc=False)


class CreateFormatter:
    """The printer of the answers to one kind of create."""

    def __init__(self, kind: CreateKind[Any]) -> None:
        """Compile the printer."""
        self._struct = _make_struct(kind.response)
        self._record_type = kind.record_type
        self._partition = kind.partition
        # Where each field of the response is in an event that is followed by the record type and the partition key.
        places = {name: place for place, name in enumerate((*Event._fields, "record_type", "partition_key"))}
        places |= {"sort_key": places["customer_id"], kind.entity_field: places["entity_id"]}
        self._select = itemgetter(*[places[field.name] for field in kind.response.DESCRIPTOR.fields])

    def format(self, event: Event) -> bytes:
        """Return the answer to a create whose event is stored."""
        values = (*event, self._record_type, f"{self._partition}|{event.id}")
        return _encode(self._struct(*self._select(values)))


# The first four fields of each record are those of the query.
_Recording = _make_struct(RecordedEvent, (*Query._fields[:4], *Found._fields))
_META_NAMES = ["page", "page_size", "row_count", "next_page_token"]
_MetaWithToken = _make_struct(PageMeta, _META_NAMES)
_Meta = _make_struct(PageMeta, _META_NAMES, count=3)
_SEARCH_FIELDS: Any = SearchLeadAnalyticsEventsResponse.DESCRIPTOR.fields
_RECORDINGS, _META = [field.json_name.encode() for field in _SEARCH_FIELDS]
_BEGINNING = b'{"%b":[' % _RECORDINGS


def format_page(query: Query, page: Page) -> Iterator[bytes]:
    """Yield the text of one page of the result of `query`, in parts."""
    make_recording = partial(_Recording, *query[:4])
    for part in slice_page(page.events):
        records = _encode(list(starmap(make_recording, page.events[part])))[1:-1]
        end = b""
        if part.stop == len(page.events):
            meta = (query.page, query.page_size, page.total)
            printed = _Meta(*meta) if query.place is None else _MetaWithToken(*meta, make_next_token(query, page))
            end = b'],"%b":%b}' % (_META, _encode(printed))
        yield b"%b%b%b" % (b"," if part.start else _BEGINNING, records, end)


_EventRecord = _make_struct(EventRecord)
_RECORD_FIELDS: Any = EventRecord.DESCRIPTOR.fields
_select_record = itemgetter(*[Event._fields.index(field.name) for field in _RECORD_FIELDS])
_LISTING_FIELDS: Any = ListAnalyticsEventsResponse.DESCRIPTOR.fields
_EVENTS, _NEXT = [field.json_name.encode() for field in _LISTING_FIELDS]


def format_record(event: Event) -> bytes:
    """Return an event with everything that is stored of it."""
    return _encode(make_record(event))


def format_listing(request: ListRequest, listing: Listing) -> Iterator[bytes]:
    """Yield the text of one page of a list, in parts."""
    for part in slice_events(listing.events):
        records = _encode(list(map(make_record, listing.events[part])))[1:-1]
        end = b""
        if part.stop == len(listing.events):
            end = b'],"%b":%b}' % (_NEXT, _encode(request.make_next_token(listing)))
        yield b"%b%b%b" % (b"," if part.start else b'{"%b":[' % _EVENTS, records, end)


def make_record(event: Event) -> Any:
    """Return what is printed as an event with everything that is stored of it."""
    text = event.version_info
    # The database puts spaces between.
    info = None if text is None else msgspec.Raw(msgspec.json.format(text.encode(), indent=-1))
    values = (*event[:TEXT_COUNT], info, *event[TEXT_COUNT + 1 :])
    return _EventRecord(*_select_record(values))


_SummaryRow = _make_struct(SummaryRow, Group._fields)
_SUMMARY_FIELDS: Any = SummarizeAnalyticsEventsResponse.DESCRIPTOR.fields
_BY, _ROWS, *_TOTALS = [field.json_name.encode() for field in _SUMMARY_FIELDS]


def format_summary(query: SummaryQuery, summary: Summary) -> Iterator[bytes]:
    """Yield the text of a summary, in parts."""
    for part in slice_groups(summary.groups):
        rows = _encode(list(starmap(_SummaryRow, summary.groups[part])))[1:-1]
        end = b""
        if part.stop == len(summary.groups):
            end = b"]%b}" % b"".join(map(_format_member, _TOTALS, summary[1:]))
        yield b"%b%b%b" % (b"," if part.start else b'{"%b":%b,"%b":[' % (_BY, _encode(query.by), _ROWS), rows, end)


def _format_member(name: bytes, value: int) -> bytes:
    return b',"%b":%b' % (name, _encode(value))


_RECEIPT_FIELDS = Receipt._fields[:-1]  # Without the last, `until_id`.
_Erasure = _make_struct(ErasureMessage, _RECEIPT_FIELDS)


def format_receipt(receipt: Receipt) -> bytes:
    """Return the receipt of an erasure."""
    return _encode(_Erasure(*receipt[:-1]))


_Refusal = _make_struct(RefusalMessage)
_REFUSALS_FIELDS: Any = ListRefusalsResponse.DESCRIPTOR.fields
_REFUSALS, _NEXT_REFUSALS = [field.json_name.encode() for field in _REFUSALS_FIELDS]


def format_refusals(page: RefusalPage) -> Iterator[bytes]:
    """Yield the text of one page of refusals, in parts."""
    for part in page.slice():
        refusals = _encode(list(map(_make_refusal, page.refusals[part])))[1:-1]
        end = b""
        if part.stop == len(page.refusals):
            end = b'],"%b":%b}' % (_NEXT_REFUSALS, _encode(page.next_token))
        yield b"%b%b%b" % (b"," if part.start else b'{"%b":[' % _REFUSALS, refusals, end)


def _make_refusal(refusal: Refusal) -> Any:
    values: dict[str, Any] = refusal._asdict()
    values["violations"] = msgspec.Raw(msgspec.json.format(refusal.violations.encode(), indent=-1))
    values["replayed_event_id"] = refusal.replayed_event_id or msgspec.UNSET
    return _Refusal(created_at=to_time(refusal.id), **values)


_Stored = _make_struct(StoredEvent, ["id", "created_at", "replayed"])
_Violation = _make_struct(EventViolation, FieldViolation._fields)
_Refused = _make_struct(RefusedEvent, ["violations"])
_Batch = _make_struct(BatchCreateAnalyticsEventsResponse, ["stored_count", "refused_count", "outcomes"])
_OUTCOME_FIELDS: Any = EventOutcome.DESCRIPTOR.fields_by_name


def _make_outcome(name: str) -> Any:
    """Return a struct for one of the fields of an outcome, of which only that one is printed."""
    names = ["index", name]
    json_names = {each: _OUTCOME_FIELDS[each].json_name for each in names}
    return msgspec.defstruct("Outcome", [(each, Any) for each in names], rename=json_names, gc=False)


_StoredOutcome, _RefusedOutcome = map(_make_outcome, ("stored", "refused"))


def format_batch(results: Sequence[EventResult]) -> bytes:
    """Return the answer to a batch, given the result of each of its events in order."""
    printed = []
    refused = 0
    for index, result in enumerate(results):
        if isinstance(result, tuple):
            printed.append(_StoredOutcome(index, _Stored(*result)))
        else:
            refused += 1
            printed.append(_RefusedOutcome(index, _Refused(list(starmap(_Violation, result)))))
    return _encode(_Batch(len(printed) - refused, refused, printed))
