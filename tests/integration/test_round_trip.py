"""What a caller sends is what the table holds, whatever characters it is made of."""

import json
import uuid
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_analytics.v1.analytics_event_service_pb2 import CreateAnalyticsEventRequest
from tests.support import requests
from tests.support.hostile import FLOATS
from tests.support.in_process import Client, RunningServer

# All of Unicode that UTF-8 can encode and PostgreSQL can hold, and often what COPY and JSON escape.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("\\\t\n\r\b\f\v\x7f\"'{}.N"))
JSON = st.recursive(
    st.none() | st.booleans() | FLOATS | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
REQUIRED = {name: TEXT.filter(bool).map(lambda text: text[:255]) for name in ("user_id", "recording_id", "event_type")}
OPTIONAL = {
    name: TEXT.map(lambda text: text[:255])
    for name in CreateAnalyticsEventRequest.DESCRIPTOR.fields_by_name
    if name not in (*REQUIRED, "customer_id", "entity_type", "entity_id", "version_info")
}

# Each example has a key of its own: another event under a stored key would be refused.
NEW_KEYS = OPTIONAL["idempotency_key"].map(lambda text: f"{text[:200]}{uuid.uuid4()}" if text else "")


@settings(max_examples=150)
@given(
    st.fixed_dictionaries(
        {**REQUIRED, "entity_id": REQUIRED["user_id"]},
        optional={**OPTIONAL, "idempotency_key": NEW_KEYS, "version_info": st.dictionaries(TEXT, JSON, max_size=4)},
    )
)
@example({"message": "\\.", "event_id": "\\N", "version_info": {}})
@example({"message": "a\tb\\tc\nd\re\\\\f", "version_info": {"\\": "\\u0000", "\u2028": "\x01\\"}})
@example({"version_info": {"most": 9.9999999999999e99, "least": 1e-99, "big": 2**53, "sign": -0.0}})
def test_a_message_is_stored_and_read_back_without_loss(opened: tuple[Client, Any], fields: dict[str, Any]) -> None:
    client, cursor = opened
    request = requests.analytics_event("round trip", **fields)
    answer = client.events.CreateAnalyticsEvent(request, timeout=10)
    row = fetch_row(cursor, answer.partition_key)
    for name in request.DESCRIPTOR.fields_by_name:
        if name == "version_info":
            sent = MessageToDict(request.version_info) if request.HasField("version_info") else None
            assert row[name] == sent
        else:
            assert row[name] == getattr(request, name)
            if hasattr(answer, name):
                assert getattr(answer, name) == getattr(request, name)


@pytest.fixture(scope="session")
def opened(server: RunningServer, database_url: str) -> Any:
    connection = psycopg2.connect(database_url, cursor_factory=psycopg2.extras.RealDictCursor)
    connection.autocommit = True
    # PostgreSQL prints 1e308 with all its digits, which Python would read as an integer.
    psycopg2.extras.register_default_jsonb(connection, loads=lambda text: json.loads(text, parse_int=float))
    yield server.client, connection.cursor()
    connection.close()


def test_an_absent_version_info_is_not_an_empty_one(opened: tuple[Client, Any]) -> None:
    client, cursor = opened
    for fields, stored in (({}, None), ({"version_info": {}}, {})):
        answer = client.events.CreateAnalyticsEvent(requests.analytics_event("round trip", **fields), timeout=5)
        assert fetch_row(cursor, answer.partition_key)["version_info"] == stored


def fetch_row(cursor: Any, partition_key: str) -> dict[str, Any]:
    cursor.execute("SELECT * FROM analytics_event WHERE id = %s", (partition_key.partition("|")[2],))
    (row,) = cursor.fetchall()
    return dict(row)
