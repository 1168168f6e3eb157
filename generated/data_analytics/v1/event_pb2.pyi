from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnalyticsEvent(_message.Message):
    __slots__ = ("customer_id", "entity_id", "entity_type", "user_id", "tool_signature", "recording_id", "event_type", "event_id", "message", "record_type", "partition_key", "sort_key", "created_at", "updated_at")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECORD_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_KEY_FIELD_NUMBER: _ClassVar[int]
    SORT_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    entity_id: str
    entity_type: str
    user_id: str
    tool_signature: str
    recording_id: str
    event_type: str
    event_id: str
    message: str
    record_type: str
    partition_key: str
    sort_key: str
    created_at: str
    updated_at: str
    def __init__(self, customer_id: _Optional[str] = ..., entity_id: _Optional[str] = ..., entity_type: _Optional[str] = ..., user_id: _Optional[str] = ..., tool_signature: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., event_id: _Optional[str] = ..., message: _Optional[str] = ..., record_type: _Optional[str] = ..., partition_key: _Optional[str] = ..., sort_key: _Optional[str] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ...) -> None: ...

class LeadAnalyticsEvent(_message.Message):
    __slots__ = ("customer_id", "lead_id", "user_id", "tool_signature", "recording_id", "event_type", "event_id", "message", "record_type", "partition_key", "sort_key", "created_at", "updated_at")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    LEAD_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECORD_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_KEY_FIELD_NUMBER: _ClassVar[int]
    SORT_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    lead_id: str
    user_id: str
    tool_signature: str
    recording_id: str
    event_type: str
    event_id: str
    message: str
    record_type: str
    partition_key: str
    sort_key: str
    created_at: str
    updated_at: str
    def __init__(self, customer_id: _Optional[str] = ..., lead_id: _Optional[str] = ..., user_id: _Optional[str] = ..., tool_signature: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., event_id: _Optional[str] = ..., message: _Optional[str] = ..., record_type: _Optional[str] = ..., partition_key: _Optional[str] = ..., sort_key: _Optional[str] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ...) -> None: ...

class ContactAnalyticsEvent(_message.Message):
    __slots__ = ("customer_id", "contact_id", "user_id", "tool_signature", "recording_id", "event_type", "event_id", "message", "record_type", "partition_key", "sort_key", "created_at", "updated_at")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    CONTACT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECORD_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_KEY_FIELD_NUMBER: _ClassVar[int]
    SORT_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    contact_id: str
    user_id: str
    tool_signature: str
    recording_id: str
    event_type: str
    event_id: str
    message: str
    record_type: str
    partition_key: str
    sort_key: str
    created_at: str
    updated_at: str
    def __init__(self, customer_id: _Optional[str] = ..., contact_id: _Optional[str] = ..., user_id: _Optional[str] = ..., tool_signature: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., event_id: _Optional[str] = ..., message: _Optional[str] = ..., record_type: _Optional[str] = ..., partition_key: _Optional[str] = ..., sort_key: _Optional[str] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ...) -> None: ...

class RecordedEvent(_message.Message):
    __slots__ = ("customer_id", "entity_type", "entity_id", "user_id", "tool_signature", "recording_id", "event_type", "event_id", "message", "created_at", "updated_at")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    entity_type: str
    entity_id: str
    user_id: str
    tool_signature: str
    recording_id: str
    event_type: str
    event_id: str
    message: str
    created_at: str
    updated_at: str
    def __init__(self, customer_id: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., user_id: _Optional[str] = ..., tool_signature: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., event_id: _Optional[str] = ..., message: _Optional[str] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ...) -> None: ...

class EventRecord(_message.Message):
    __slots__ = ("id", "customer_id", "entity_type", "entity_id", "user_id", "recording_id", "event_type", "tool_signature", "event_id", "message", "javascript_local_time", "apex_local_time", "event_environment_path", "name_parser_event_id", "recommendation_model_event_id", "version_info", "idempotency_key", "created_at", "updated_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ENTITY_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    RECORDING_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
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
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    customer_id: str
    entity_type: str
    entity_id: str
    user_id: str
    recording_id: str
    event_type: str
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
    created_at: str
    updated_at: str
    def __init__(self, id: _Optional[str] = ..., customer_id: _Optional[str] = ..., entity_type: _Optional[str] = ..., entity_id: _Optional[str] = ..., user_id: _Optional[str] = ..., recording_id: _Optional[str] = ..., event_type: _Optional[str] = ..., tool_signature: _Optional[str] = ..., event_id: _Optional[str] = ..., message: _Optional[str] = ..., javascript_local_time: _Optional[str] = ..., apex_local_time: _Optional[str] = ..., event_environment_path: _Optional[str] = ..., name_parser_event_id: _Optional[str] = ..., recommendation_model_event_id: _Optional[str] = ..., version_info: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ...) -> None: ...

class PageMeta(_message.Message):
    __slots__ = ("page", "page_size", "row_count", "next_page_token")
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page: int
    page_size: int
    row_count: int
    next_page_token: str
    def __init__(self, page: _Optional[int] = ..., page_size: _Optional[int] = ..., row_count: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class EventOutcome(_message.Message):
    __slots__ = ("index", "stored", "refused")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    index: int
    stored: StoredEvent
    refused: RefusedEvent
    def __init__(self, index: _Optional[int] = ..., stored: _Optional[_Union[StoredEvent, _Mapping]] = ..., refused: _Optional[_Union[RefusedEvent, _Mapping]] = ...) -> None: ...

class StoredEvent(_message.Message):
    __slots__ = ("id", "created_at", "replayed")
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    id: str
    created_at: str
    replayed: bool
    def __init__(self, id: _Optional[str] = ..., created_at: _Optional[str] = ..., replayed: _Optional[bool] = ...) -> None: ...

class RefusedEvent(_message.Message):
    __slots__ = ("violations",)
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    violations: _containers.RepeatedCompositeFieldContainer[EventViolation]
    def __init__(self, violations: _Optional[_Iterable[_Union[EventViolation, _Mapping]]] = ...) -> None: ...

class EventViolation(_message.Message):
    __slots__ = ("field", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...
