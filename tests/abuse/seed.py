"""The rows that an attack needs, stored behind the server's back."""

from typing import NamedTuple

from storage.model import make_search_key
from tests.abuse.requests import ATTACKER
from tests.support.database import query

_COLUMNS = (
    "customer_id, id, created_at, updated_at, entity_type, entity_id, user_id, recording_id, event_type,"
    " tool_signature, event_id, message, javascript_local_time, apex_local_time, event_environment_path,"
    " name_parser_event_id, recommendation_model_event_id, search_key"
)
_INSERT = f"""
WITH stored AS (
  INSERT INTO analytics_event ({_COLUMNS})
  SELECT %s, uuidv7(), now(), now(), 'lead', 'entity', 'user', %s, 'view',
    '', '', repeat('m', %s), '', '', '', '', '', %s
  FROM generate_series(1, %s) RETURNING 1
) SELECT count(*) FROM stored
"""


class Seed(NamedTuple):
    """Events of the attacker's that one search finds."""

    recording: str
    events: int
    message_size: int = 20

    def store(self, database_url: str) -> None:
        """Store them."""
        key = make_search_key("lead", "entity", "user", self.recording)
        query(database_url, _INSERT, ATTACKER, self.recording, self.message_size, key, self.events)
