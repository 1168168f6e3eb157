from buf.validate import validate_pb2 as _validate_pb2
from data_analytics.v1 import event_pb2 as _event_pb2
from data_analytics.v1 import export_pb2 as _export_pb2
from data_analytics.v1 import refusal_pb2 as _refusal_pb2
from data_analytics.v1 import summary_pb2 as _summary_pb2
from data_analytics.v1 import watch_pb2 as _watch_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateAnalyticsEventRequest(_message.Message):
    __slots__ = ("customer_id", "user_id", "recording_id", "event_type", "entity_type", "entity_id", "tool_signature", "event_id", "message", "javascript_local_time", "apex_local_time", "event_environment_path", "name_parser_event_id", "recommendation_model_event_id", "version_info", "idempotency_key")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    JAVASCRIPT_LOCAL_TIME_FIELD_NUMBER: _ClassVar[int]
    APEX_LOCAL_TIME_FIELD_NUMBER: _ClassVar[int]
    EVENT_ENVIRONMENT_PATH_FIELD_NUMBER: _ClassVar[int]
    NAME_PARSER_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATION_MODEL_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_INFO_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    user_id: str
    recording_id: str
    event_type: str
    entity_type: str
    entity_id: str
    tool_signature: str
    event_id: str
    message: str
    javascript_local_time: str
    apex_local_time: str
    event_environment_path: str
    name_parser_event_id: str
    recommendation_model_event_id: str
    version_info: _struct_pb2.Struct
    idempotency_key: str
    def __init__(self, customer_id: _Optional[str] = ..., user_id: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., tool_signature: _Optional[str] = ..., event_id: _Optional[str] = ..., message: _Optional[str] = ..., javascript_local_time: _Optional[str] = ..., apex_local_time: _Optional[str] = ..., event_environment_path: _Optional[str] = ..., name_parser_event_id: _Optional[str] = ..., recommendation_model_event_id: _Optional[str] = ..., version_info: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class BatchCreateAnalyticsEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[CreateAnalyticsEventRequest]
    def __init__(self, events: _Optional[_Iterable[_Union[CreateAnalyticsEventRequest, _Mapping]]] = ...) -> None: ...

class BatchCreateAnalyticsEventsResponse(_message.Message):
    __slots__ = ("stored_count", "refused_count", "outcomes")
    STORED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    stored_count: int
    refused_count: int
    outcomes: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventOutcome]
    def __init__(self, stored_count: _Optional[int] = ..., refused_count: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[_event_pb2.EventOutcome, _Mapping]]] = ...) -> None: ...

class WriteAnalyticsEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[CreateAnalyticsEventRequest]
    def __init__(self, events: _Optional[_Iterable[_Union[CreateAnalyticsEventRequest, _Mapping]]] = ...) -> None: ...

class WriteAnalyticsEventsResponse(_message.Message):
    __slots__ = ("chunk", "committed", "failed")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    chunk: int
    committed: BatchCreateAnalyticsEventsResponse
    failed: _status_pb2.Status
    def __init__(self, chunk: _Optional[int] = ..., committed: _Optional[_Union[BatchCreateAnalyticsEventsResponse, _Mapping]] = ..., failed: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class EraseAnalyticsEventsRequest(_message.Message):
    __slots__ = ("customer_id", "all_events", "user_id", "entity_type", "entity_id", "older_than_days", "created_before", "block_later")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ALL_EVENTS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    OLDER_THAN_DAYS_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_LATER_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    all_events: bool
    user_id: str
    entity_type: str
    entity_id: str
    older_than_days: int
    created_before: str
    block_later: bool
    def __init__(self, customer_id: _Optional[str] = ..., all_events: _Optional[bool] = ..., user_id: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., older_than_days: _Optional[int] = ..., created_before: _Optional[str] = ..., block_later: _Optional[bool] = ...) -> None: ...

class GetErasureRequest(_message.Message):
    __slots__ = ("customer_id", "id")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    id: str
    def __init__(self, customer_id: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class Erasure(_message.Message):
    __slots__ = ("id", "customer_id", "all_events", "user_id", "entity_type", "entity_id", "created_before", "block_later", "requested_by", "created_at", "finished_at", "erased_count", "last_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ALL_EVENTS_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_LATER_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    ERASED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    customer_id: str
    all_events: bool
    user_id: str
    entity_type: str
    entity_id: str
    created_before: str
    block_later: bool
    requested_by: str
    created_at: str
    finished_at: str
    erased_count: int
    last_id: str
    def __init__(self, id: _Optional[str] = ..., customer_id: _Optional[str] = ..., all_events: _Optional[bool] = ..., user_id: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., created_before: _Optional[str] = ..., block_later: _Optional[bool] = ..., requested_by: _Optional[str] = ..., created_at: _Optional[str] = ..., finished_at: _Optional[str] = ..., erased_count: _Optional[int] = ..., last_id: _Optional[str] = ...) -> None: ...

class ListAnalyticsEventsRequest(_message.Message):
    __slots__ = ("customer_id", "user_id", "entity_type", "entity_id", "recording_id", "event_type", "tool_signature", "since", "until", "page_size", "page_token")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOOL_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    user_id: str
    entity_type: str
    entity_id: str
    recording_id: str
    event_type: str
    tool_signature: str
    since: str
    until: str
    page_size: int
    page_token: str
    def __init__(self, customer_id: _Optional[str] = ..., user_id: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., tool_signature: _Optional[str] = ..., since: _Optional[str] = ..., until: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAnalyticsEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.EventRecord]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.EventRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetAnalyticsEventRequest(_message.Message):
    __slots__ = ("customer_id", "id")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    id: str
    def __init__(self, customer_id: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...
