"""What lists keep of a customer's events: see `storage/segments.py`.

It adds a table, which fills when somebody asks for lists, and blocks no writer. From now on, a step of an erasure also
deletes the segments of the events that it erases.
"""

_FILTERS = ("user_id", "entity_type", "entity_id", "recording_id", "event_type", "tool_signature")

# Parts of the entries and of the ids are read, and they compress badly. The starts take 1 KB each, and all fit into a
# row beside the rest.
_TABLE = f"""
CREATE TABLE list_segment (
  customer_id text NOT NULL,
  start_id uuid NOT NULL,
  end_id uuid NOT NULL,
  token uuid NOT NULL,
  events integer,
  ids bytea,
  {", ".join(f"{name}_starts integer[], {name} bytea" for name in _FILTERS)},
  PRIMARY KEY (customer_id, end_id, start_id)
);
ALTER TABLE list_segment
  {", ".join(f"ALTER COLUMN {name}_starts SET STORAGE PLAIN" for name in _FILTERS)},
  {", ".join(f"ALTER COLUMN {name} SET STORAGE EXTERNAL" for name in ("ids", *_FILTERS))};
"""

_STEP = "erase_step(text, uuid, text, integer)"
_BEFORE = "    DELETE FROM summary_day WHERE"
_DELETE = """    DELETE FROM list_segment
      WHERE customer_id = of_customer AND start_id <= doomed[cardinality(doomed)] AND end_id > doomed[1];
"""


def _edit_step(db, old, new):
    (definition,) = db.execute_sql(f"SELECT pg_get_functiondef('{_STEP}'::regprocedure)").fetchone()
    if definition.count(old) != 1:
        raise RuntimeError("the function erase_step is not the one of the migration before this one")
    db.execute_sql(definition.replace(old, new))


def up(migrator, db):
    db.execute_sql(_TABLE)
    _edit_step(db, _BEFORE, _DELETE + _BEFORE)


def down(migrator, db):
    _edit_step(db, _DELETE + _BEFORE, _BEFORE)
    db.execute_sql("DROP TABLE list_segment")
