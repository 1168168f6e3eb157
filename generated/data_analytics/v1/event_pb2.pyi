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

class PageMeta(_message.Message):
    __slots__ = ("page", "page_size", "row_count")
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    page: int
    page_size: int
    row_count: int
    def __init__(self, page: _Optional[int] = ..., page_size: _Optional[int] = ..., row_count: _Optional[int] = ...) -> None: ...

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
