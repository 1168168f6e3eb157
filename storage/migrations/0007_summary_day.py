"""What summaries keep of a customer's events of a day: the texts by which events are counted, as hashes in columns.

It adds a table, which fills when somebody asks for summaries, and blocks no writer. From now on, a step of an erasure
also deletes the days of the events that it erases: see `storage/summary_days.py`.
"""

_TEXTS = ("user_id", "entity_type", "entity_id", "recording_id", "event_type", "tool_signature")
_COLUMNS = ("ids", "times", *(f"{name}_{part}" for name in _TEXTS for part in ("codes", "hashes")))

# Parts of them are read, and they compress badly.
_TABLE = f"""
CREATE TABLE summary_day (
  customer_id text NOT NULL,
  day date NOT NULL,
  token uuid NOT NULL,
  claimed_at timestamptz NOT NULL,
  events integer,
  {", ".join(f"{name} bytea" for name in _COLUMNS)},
  PRIMARY KEY (customer_id, day)
);
ALTER TABLE summary_day {", ".join(f"ALTER COLUMN {name} SET STORAGE EXTERNAL" for name in _COLUMNS)};
"""

# As in 0004_erasure, but for the days.
_STEP = """
CREATE OR REPLACE FUNCTION erase_step(
  of_customer text, receipt uuid, worker text, most int, OUT erased int, OUT finished boolean
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  job record;
  seen int;
  last uuid;
  doomed uuid[];{declared}
BEGIN
  most := least(greatest(most, 1), 10000);
  UPDATE erasure SET leased_by = worker, leased_until = moment + interval '10 s'
    WHERE customer_id = of_customer AND id = receipt AND finished_at IS NULL
      AND (leased_by = worker OR leased_until <= moment)
    RETURNING * INTO job;
  IF job.id IS NULL THEN
    RETURN;
  END IF;
  IF job.block_later AND job.scanned_to = '00000000-0000-0000-0000-000000000000' THEN
    SELECT id INTO last FROM analytics_event WHERE customer_id = of_customer ORDER BY id DESC LIMIT 1;
    UPDATE erasure SET until_id = least(until_id, coalesce(last, scanned_to))
      WHERE customer_id = of_customer AND id = receipt RETURNING * INTO job;
  END IF;
  SELECT count(*), (array_agg(event.id ORDER BY event.id DESC))[1],
      array_agg(event.id ORDER BY event.id) FILTER (WHERE event.is_doomed){found}
    INTO seen, last, doomed{into}
    FROM (
      SELECT id, created_at, (job.user_id = '' OR user_id = job.user_id)
        AND (job.entity_id = '' OR (entity_type = job.entity_type AND entity_id = job.entity_id)) AS is_doomed
      FROM analytics_event
      WHERE customer_id = of_customer AND id > job.scanned_to AND id <= job.until_id
      ORDER BY id LIMIT most
    ) AS event;
  erased := 0;
  IF doomed IS NOT NULL THEN
    INSERT INTO erased_key (customer_id, key_hash, erased_at)
      SELECT customer_id, encode(substr(sha256(convert_to(customer_id, 'UTF8') || '\\x00'::bytea
        || convert_to(idempotency_key, 'UTF8')), 1, 16), 'hex')::uuid, moment
      FROM analytics_event WHERE customer_id = of_customer AND id = ANY (doomed) AND idempotency_key <> ''
      ON CONFLICT (customer_id, key_hash) DO UPDATE SET erased_at = excluded.erased_at;
    DELETE FROM analytics_event WHERE customer_id = of_customer AND id = ANY (doomed);
    GET DIAGNOSTICS erased = ROW_COUNT;{deletion}
  END IF;
  finished := seen < most;
  UPDATE erasure SET
      erased_count = erased_count + erased,
      last_id = coalesce(doomed[cardinality(doomed)], last_id),
      scanned_to = coalesce(last, scanned_to),
      finished_at = CASE WHEN finished THEN moment END
    WHERE customer_id = of_customer AND id = receipt;
END $$
"""
_WITHOUT_DAYS = dict.fromkeys(("declared", "found", "into", "deletion"), "")
_WITH_DAYS = {
    "declared": "\n  first_day date;\n  last_day date;",
    "found": """,
      min((event.created_at AT TIME ZONE 'UTC')::date) FILTER (WHERE event.is_doomed),
      max((event.created_at AT TIME ZONE 'UTC')::date) FILTER (WHERE event.is_doomed)""",
    "into": ", first_day, last_day",
    "deletion": """
    DELETE FROM summary_day WHERE customer_id = of_customer AND day >= first_day AND day <= last_day;""",
}


def _replace_step(db, parts):
    (schema,) = db.execute_sql(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'analytics_event'::regclass"
    ).fetchone()
    db.execute_sql(_STEP.format(schema=schema, **parts))


def up(migrator, db):
    db.execute_sql(_TABLE)
    _replace_step(db, _WITH_DAYS)


def down(migrator, db):
    _replace_step(db, _WITHOUT_DAYS)
    db.execute_sql("DROP TABLE summary_day")
