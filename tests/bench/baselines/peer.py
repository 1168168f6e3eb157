"""The peer: FastAPI and asyncpg on uvicorn with httptools and uvloop, one INSERT and commit for each create.

`DATABASE_URL=… uvicorn tests.bench.baselines.peer:app --workers N --port PORT --loop uvloop --http httptools`
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
import orjson
from fastapi import FastAPI, Query, Response
from pydantic import BaseModel, StringConstraints

from storage import make_id_and_time
from storage.model import make_search_key

Required = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Optional = Annotated[str, StringConstraints(max_length=255)]


class Event(BaseModel):
    """The body of a create."""

    customer_id: Required
    lead_id: Required
    user_id: Required
    recording_id: Required
    event_type: Required
    tool_signature: Optional = ""
    event_id: Optional = ""
    message: Annotated[str, StringConstraints(max_length=65_536)] = ""
    javascript_local_time: Optional = ""
    apex_local_time: Optional = ""
    event_environment_path: Annotated[str, StringConstraints(max_length=2_048)] = ""
    name_parser_event_id: Optional = ""
    recommendation_model_event_id: Optional = ""
    version_info: dict[str, Any] | None = None


INSERT = """
INSERT INTO analytics_event (customer_id, id, created_at, updated_at, entity_type, entity_id, user_id, recording_id,
  event_type, tool_signature, event_id, message, javascript_local_time, apex_local_time, event_environment_path,
  name_parser_event_id, recommendation_model_event_id, version_info, search_key)
VALUES ($1, $2::text::uuid, $3::text::timestamptz, $3::text::timestamptz, 'lead', $4, $5, $6, $7, $8, $9, $10, $11, $12,
  $13, $14, $15, $16, $17::text::uuid)
"""
WHERE = "WHERE customer_id = $1 AND search_key = ANY ($2::text[]::uuid[])"
PAGE = f"""
SELECT customer_id, entity_type, entity_id, user_id, tool_signature, recording_id, event_type, event_id, message,
  to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at,
  to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at
FROM analytics_event {WHERE} ORDER BY analytics_event.created_at DESC, id DESC LIMIT $3 OFFSET $4
"""
COUNT = f"SELECT count(*) FROM analytics_event {WHERE}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one pool of connections for each process."""
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=8, max_size=16)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.post("/api/v1/lead_analytics")
async def create(event: Event) -> Response:
    """Store an event."""
    event_id, now = make_id_and_time()
    key = make_search_key("lead", event.lead_id, event.user_id, event.recording_id)
    await app.state.pool.execute(
        INSERT,
        event.customer_id,
        event_id,
        now,
        event.lead_id,
        event.user_id,
        event.recording_id,
        event.event_type,
        event.tool_signature,
        event.event_id,
        event.message,
        event.javascript_local_time,
        event.apex_local_time,
        event.event_environment_path,
        event.name_parser_event_id,
        event.recommendation_model_event_id,
        None if event.version_info is None else orjson.dumps(event.version_info).decode(),
        key,
    )
    answer = {
        "customer_id": event.customer_id,
        "lead_id": event.lead_id,
        "user_id": event.user_id,
        "tool_signature": event.tool_signature,
        "recording_id": event.recording_id,
        "event_type": event.event_type,
        "event_id": event.event_id,
        "message": event.message,
        "entityType": "lead_analytics_event",
        "partitionKey": f"Lead analytics event|{event_id}",
        "sortKey": event.customer_id,
        "created_at": now,
        "updated_at": now,
    }
    return Response(orjson.dumps(answer), 201, media_type="application/json")


@app.get("/api/v1/lead_analytics/search")
async def search(
    customer_id: Required,
    user_id: Required,
    lead_id: Required,
    recording_id: Annotated[list[Required], Query(max_length=500)],
    page: Annotated[int, Query(ge=1)] = 1,
    page_size: Annotated[int, Query(ge=1, le=1_000, alias="pageSize")] = 10,
) -> Response:
    """Answer with one page, by two statements."""
    keys = [make_search_key("lead", lead_id, user_id, recording) for recording in recording_id]
    async with app.state.pool.acquire() as connection:
        rows = await connection.fetch(PAGE, customer_id, keys, page_size, (page - 1) * page_size)
        total = await connection.fetchval(COUNT, customer_id, keys)
    meta = {"page": page, "pageSize": page_size, "rowCount": total}
    body = orjson.dumps({"recordings": [dict(row) for row in rows], "meta": meta})
    return Response(body, media_type="application/json")
