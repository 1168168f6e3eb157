"""Erasures: their receipts, the keys of erased events, the users whose events are refused, and what may delete events.

It adds tables and functions, and blocks no writer. The server's role may delete nothing: the functions do it as the
owner of the tables, each within one customer and in bounded steps, and whatever they delete is in a receipt.

On Citus, the tables are distributed by customer beside the events, so that each statement in a function has one shard.
"""

_TABLES = """
CREATE TABLE erasure (
  customer_id text NOT NULL CHECK (customer_id <> ''),
  id uuid NOT NULL,
  all_events boolean NOT NULL,
  user_id text NOT NULL,
  entity_type text NOT NULL,
  entity_id text NOT NULL,
  created_before timestamptz,
  block_later boolean NOT NULL CHECK (NOT block_later OR user_id <> ''),
  requested_by text NOT NULL,
  created_at timestamptz NOT NULL,
  finished_at timestamptz,
  erased_count bigint NOT NULL DEFAULT 0,
  last_id uuid,
  scanned_to uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  until_id uuid NOT NULL,
  leased_by text NOT NULL DEFAULT '',
  leased_until timestamptz NOT NULL,
  keeps_keys boolean NOT NULL DEFAULT true,
  PRIMARY KEY (customer_id, id),
  CHECK (all_events::int + (user_id <> '')::int + (entity_id <> '')::int + (created_before IS NOT NULL)::int = 1),
  CHECK ((entity_type <> '') = (entity_id <> ''))
);
CREATE INDEX erasure_unfinished ON erasure (customer_id, leased_until) WHERE finished_at IS NULL;
CREATE INDEX erasure_keys ON erasure (customer_id, created_at) WHERE keeps_keys;

CREATE TABLE erased_key (
  customer_id text NOT NULL,
  key_hash uuid NOT NULL,
  erased_at timestamptz NOT NULL,
  PRIMARY KEY (customer_id, key_hash)
);
CREATE INDEX erased_key_age ON erased_key (customer_id, erased_at);

CREATE TABLE blocked_user (
  customer_id text NOT NULL,
  user_id text NOT NULL,
  blocked_at timestamptz NOT NULL,
  PRIMARY KEY (customer_id, user_id)
);
"""

# It is given a receipt's id, so that the same request twice is one erasure. A retention, whose receipt is one for each
# customer, begins again where the last one ended. What is blocked takes effect on all workers before the first step, so
# that an event which was accepted before is erased. `up_to` is for what is applied again after a restore.
#
# What is stored afterwards stays. No clock decides on that, since those of the workers and of the database differ: the
# customer's newest event at this moment is the last one that may go, or with a block the newest before the first step.
_BEGIN = """
CREATE FUNCTION begin_erasure(
  of_customer text, receipt uuid, everything boolean, of_user text, of_entity_type text, of_entity text,
  before timestamptz, block boolean, by_whom text, up_to uuid
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  newest uuid;
  until_id uuid;
BEGIN
  IF before > moment THEN
    RAISE EXCEPTION 'created_before is in the future' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF up_to IS NULL AND by_whom <> '{retention}' AND (
    SELECT count(*) FROM erasure WHERE customer_id = of_customer AND finished_at IS NULL AND id <> receipt
  ) >= {unfinished} THEN
    RAISE EXCEPTION 'too many erasures of the customer are not finished'
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF NOT block THEN
    SELECT id INTO newest FROM analytics_event WHERE customer_id = of_customer ORDER BY id DESC LIMIT 1;
    newest := coalesce(newest, '00000000-0000-0000-0000-000000000000');
  END IF;
  -- An event's id begins with the 48 bits of the milliseconds of its created_at, and none is before 1970. Without
  -- a time, this is the last id that there can be.
  until_id := (lpad(
    to_hex(greatest(least(floor(extract(epoch FROM before) * 1000), {last_millisecond}), 0)::bigint), 12, '0'
  ) || repeat('0', 20))::uuid;
  until_id := least(until_id, newest, up_to);  -- The NULLs among them do not count.
  IF block THEN
    IF (SELECT count(*) FROM blocked_user WHERE customer_id = of_customer AND user_id <> of_user) >= {blocked_each}
      OR (SELECT count(*) FROM blocked_user) >= {blocked} THEN
      RAISE EXCEPTION 'too many users are blocked' USING ERRCODE = 'program_limit_exceeded';
    END IF;
    INSERT INTO blocked_user (customer_id, user_id, blocked_at) VALUES (of_customer, of_user, moment)
      ON CONFLICT (customer_id, user_id) DO NOTHING;
  END IF;
  INSERT INTO erasure AS kept (
    customer_id, id, all_events, user_id, entity_type, entity_id, created_before, block_later, requested_by,
    created_at, until_id, leased_until
  ) VALUES (
    of_customer, receipt, everything, of_user, of_entity_type, of_entity, before, block, by_whom,
    moment, until_id, moment + CASE WHEN block THEN interval '{block_seconds} s' ELSE interval '0 s' END
  ) ON CONFLICT (customer_id, id) DO UPDATE SET
    created_before = excluded.created_before, until_id = excluded.until_id, finished_at = NULL,
    scanned_to = '00000000-0000-0000-0000-000000000000', leased_until = excluded.leased_until
  WHERE kept.requested_by = '{retention}' AND excluded.requested_by = '{retention}' AND kept.finished_at IS NOT NULL
    AND kept.created_before IS NOT NULL AND excluded.created_before > kept.created_before;
END $$
"""

# A step looks at so many of the customer's events in the order of their ids, in whatever number they are to be erased,
# so that it takes about as long for one user as for all. It ends with the first step that finds fewer.
_STEP = """
CREATE FUNCTION erase_step(of_customer text, receipt uuid, worker text, most int, OUT erased int, OUT finished boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  job record;
  seen int;
  last uuid;
  doomed uuid[];
BEGIN
  most := least(greatest(most, 1), {most});
  UPDATE erasure SET leased_by = worker, leased_until = moment + interval '{lease_seconds} s'
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
      array_agg(event.id ORDER BY event.id) FILTER (WHERE event.is_doomed)
    INTO seen, last, doomed
    FROM (
      SELECT id, (job.user_id = '' OR user_id = job.user_id)
        AND (job.entity_id = '' OR (entity_type = job.entity_type AND entity_id = job.entity_id)) AS is_doomed
      FROM analytics_event
      WHERE customer_id = of_customer AND id > job.scanned_to AND id <= job.until_id
      ORDER BY id LIMIT most
    ) AS event;
  erased := 0;
  IF doomed IS NOT NULL THEN
    INSERT INTO erased_key (customer_id, key_hash, erased_at)
      SELECT customer_id, {hash}, moment
      FROM analytics_event WHERE customer_id = of_customer AND id = ANY (doomed) AND idempotency_key <> ''
      ON CONFLICT (customer_id, key_hash) DO UPDATE SET erased_at = excluded.erased_at;
    DELETE FROM analytics_event WHERE customer_id = of_customer AND id = ANY (doomed);
    GET DIAGNOSTICS erased = ROW_COUNT;
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

_FORGET = """
CREATE FUNCTION forget_erased_keys(of_customer text, receipt uuid, most int, OUT forgotten int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
  oldest timestamptz := clock_timestamp() - interval '{key_days} days';
BEGIN
  DELETE FROM erased_key WHERE customer_id = of_customer AND key_hash IN (
    SELECT key_hash FROM erased_key WHERE customer_id = of_customer AND erased_at < oldest
    ORDER BY erased_at LIMIT least(greatest(most, 1), {most})
  );
  GET DIAGNOSTICS forgotten = ROW_COUNT;
  IF forgotten < most THEN
    UPDATE erasure SET keeps_keys = false WHERE customer_id = of_customer AND id = receipt AND finished_at < oldest;
  END IF;
END $$
"""

_VALUES = {
    "blocked_each": 1_000,
    "blocked": 20_000,
    "block_seconds": 6,
    "last_millisecond": 2**48 - 1,
    "unfinished": 100,
    "lease_seconds": 10,
    "most": 10_000,
    "key_days": 30,
    "retention": "retention",
    # As storage.erased_keys.hash_key has it.
    "hash": "encode(substr(sha256(convert_to(customer_id, 'UTF8') || '\\x00'::bytea"
    " || convert_to(idempotency_key, 'UTF8')), 1, 16), 'hex')::uuid",
}

_FUNCTIONS = (
    "begin_erasure(text, uuid, boolean, text, text, text, timestamptz, boolean, text, uuid)",
    "erase_step(text, uuid, text, int)",
    "forget_erased_keys(text, uuid, int)",
)


def up(migrator, db):
    (schema,) = db.execute_sql(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'analytics_event'::regclass"
    ).fetchone()
    db.execute_sql(_TABLES)
    for function in (_BEGIN, _STEP, _FORGET):
        db.execute_sql(function.format(schema=schema, **_VALUES))
    for function in _FUNCTIONS:
        db.execute_sql(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")


def down(migrator, db):
    for function in _FUNCTIONS:
        db.execute_sql(f"DROP FUNCTION {function}")
    db.execute_sql("DROP TABLE erasure, erased_key, blocked_user")
