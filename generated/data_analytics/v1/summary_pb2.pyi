from buf.validate import validate_pb2 as _validate_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SummarizeAnalyticsEventsRequest(_message.Message):
    __slots__ = ("customer_id", "user_id", "entity_type", "entity_id", "recording_id", "event_type", "tool_signature", "since", "until", "by", "top")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOOL_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    user_id: str
    entity_type: str
    entity_id: str
    recording_id: str
    event_type: str
    tool_signature: str
    since: str
    until: str
    by: _containers.RepeatedScalarFieldContainer[str]
    top: int
    def __init__(self, customer_id: _Optional[str] = ..., user_id: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., tool_signature: _Optional[str] = ..., since: _Optional[str] = ..., until: _Optional[str] = ..., by: _Optional[_Iterable[str]] = ..., top: _Optional[int] = ...) -> None: ...

class SummarizeAnalyticsEventsResponse(_message.Message):
    __slots__ = ("by", "rows", "events", "users", "more")
    BY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    by: _containers.RepeatedScalarFieldContainer[str]
    rows: _containers.RepeatedCompositeFieldContainer[SummaryRow]
    events: int
    users: int
    more: bool
    def __init__(self, by: _Optional[_Iterable[str]] = ..., rows: _Optional[_Iterable[_Union[SummaryRow, _Mapping]]] = ..., events: _Optional[int] = ..., users: _Optional[int] = ..., more: _Optional[bool] = ...) -> None: ...

class SummaryRow(_message.Message):
    __slots__ = ("values", "events", "users", "last_created_at")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    LAST_CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    events: int
    users: int
    last_created_at: str
    def __init__(self, values: _Optional[_Iterable[str]] = ..., events: _Optional[int] = ..., users: _Optional[int] = ..., last_created_at: _Optional[str] = ...) -> None: ...
