from buf.validate import validate_pb2 as _validate_pb2
from data_analytics.v1 import event_pb2 as _event_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateLeadAnalyticsEventRequest(_message.Message):
    __slots__ = ("customer_id", "user_id", "recording_id", "event_type", "entity_id", "lead_id", "tool_signature", "event_id", "message", "javascript_local_time", "apex_local_time", "event_environment_path", "name_parser_event_id", "recommendation_model_event_id", "version_info", "idempotency_key")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    LEAD_ID_FIELD_NUMBER: _ClassVar[int]
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
    entity_id: str
    lead_id: str
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
    def __init__(self, customer_id: _Optional[str] = ..., user_id: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., lead_id: _Optional[str] = ..., tool_signature: _Optional[str] = ..., event_id: _Optional[str] = ..., message: _Optional[str] = ..., javascript_local_time: _Optional[str] = ..., apex_local_time: _Optional[str] = ..., event_environment_path: _Optional[str] = ..., name_parser_event_id: _Optional[str] = ..., recommendation_model_event_id: _Optional[str] = ..., version_info: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class SearchLeadAnalyticsEventsRequest(_message.Message):
    __slots__ = ("recording_id", "customer_id", "user_id", "lead_id", "latest", "page", "page_size", "page_token", "as_of")
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    LEAD_ID_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    recording_id: _containers.RepeatedScalarFieldContainer[str]
    customer_id: str
    user_id: str
    lead_id: str
    latest: bool
    page: int
    page_size: int
    page_token: str
    as_of: str
    def __init__(self, recording_id: _Optional[_Iterable[str]] = ..., customer_id: _Optional[str] = ..., user_id: _Optional[str] = ..., lead_id: _Optional[str] = ..., latest: _Optional[bool] = ..., page: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., as_of: _Optional[str] = ...) -> None: ...

class SearchLeadAnalyticsEventsResponse(_message.Message):
    __slots__ = ("recordings", "meta")
    RECORDINGS_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    recordings: _containers.RepeatedCompositeFieldContainer[_event_pb2.RecordedEvent]
    meta: _event_pb2.PageMeta
    def __init__(self, recordings: _Optional[_Iterable[_Union[_event_pb2.RecordedEvent, _Mapping]]] = ..., meta: _Optional[_Union[_event_pb2.PageMeta, _Mapping]] = ...) -> None: ...
