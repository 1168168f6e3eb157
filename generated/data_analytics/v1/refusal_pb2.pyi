from buf.validate import validate_pb2 as _validate_pb2
from data_analytics.v1 import event_pb2 as _event_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListRefusalsRequest(_message.Message):
    __slots__ = ("customer_id", "since", "include_replays", "page_size", "page_token")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_REPLAYS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    since: str
    include_replays: bool
    page_size: int
    page_token: str
    def __init__(self, customer_id: _Optional[str] = ..., since: _Optional[str] = ..., include_replays: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRefusalsResponse(_message.Message):
    __slots__ = ("refusals", "next_page_token")
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    next_page_token: str
    def __init__(self, refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("id", "created_at", "rpc", "door", "code", "tool_signature", "violations", "request_id", "replayed_event_id", "omitted")
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    RPC_FIELD_NUMBER: _ClassVar[int]
    DOOR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    TOOL_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    OMITTED_FIELD_NUMBER: _ClassVar[int]
    id: str
    created_at: str
    rpc: str
    door: str
    code: str
    tool_signature: str
    violations: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventViolation]
    request_id: str
    replayed_event_id: str
    omitted: int
    def __init__(self, id: _Optional[str] = ..., created_at: _Optional[str] = ..., rpc: _Optional[str] = ..., door: _Optional[str] = ..., code: _Optional[str] = ..., tool_signature: _Optional[str] = ..., violations: _Optional[_Iterable[_Union[_event_pb2.EventViolation, _Mapping]]] = ..., request_id: _Optional[str] = ..., replayed_event_id: _Optional[str] = ..., omitted: _Optional[int] = ...) -> None: ...
