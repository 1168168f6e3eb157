from buf.validate import validate_pb2 as _validate_pb2
from data_analytics.v1 import event_pb2 as _event_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchAnalyticsEventsRequest(_message.Message):
    __slots__ = ("customer_id", "user_id", "entity_type", "entity_id", "recording_id", "event_type", "tool_signature", "since", "until", "resume_token")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOOL_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    user_id: str
    entity_type: str
    entity_id: str
    recording_id: str
    event_type: str
    tool_signature: str
    since: str
    until: str
    resume_token: str
    def __init__(self, customer_id: _Optional[str] = ..., user_id: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., tool_signature: _Optional[str] = ..., since: _Optional[str] = ..., until: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchAnalyticsEventsResponse(_message.Message):
    __slots__ = ("events", "resume_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventRecord]
    resume_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.EventRecord, _Mapping]]] = ..., resume_token: _Optional[str] = ...) -> None: ...
