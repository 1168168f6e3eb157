"""What is done every hour by one server at a time: old events, refusals and keys of erased events leave."""

import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from storage.erasure import BEGIN, RETENTION, STEP_EVENTS, Erasure, make_values
from storage.ids import make_bound
from storage.refusal import DELETE_OLD, FIND_NEXT_CUSTOMER, KEPT_DAYS

log = logging.getLogger(__name__)

Execute = Callable[[str, Sequence[Any] | None], Awaitable[list[Any]]]

LOCK = 0x6572617375726573
"""An advisory lock number that no other program on the database is likely to use: "erasures" in ASCII."""

# So many customers are looked at in about 10 ms.
_SLICE_CUSTOMERS = 100

_FIND_KEPT_KEYS = """
SELECT customer_id, id::text FROM erasure WHERE keeps_keys AND created_at < clock_timestamp() - interval '30 days'
"""
_FORGET = "SELECT forgotten FROM forget_erased_keys(%s, %s::uuid, %s)"

# Midnight, so that a customer is looked through once a day. By the database's clock: a server's that is wrong must not
# erase anything.
_FIND_CUTOFF = """
SELECT greatest(
  extract(epoch FROM date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') - make_interval(days => %s)), 0
)::bigint
"""
_FIND_REFUSALS_CUTOFF = "SELECT (extract(epoch FROM clock_timestamp() - make_interval(days => %s)) * 1000)::bigint"
_FIND_OLDEST = """
SELECT customer_id, id::text AS oldest, to_timestamp(%s)::text FROM analytics_event WHERE customer_id > %s
ORDER BY customer_id, id LIMIT 1
"""


async def keep_house(execute: Execute, retention_days: int) -> AsyncIterator[None]:
    """Do what is due in small parts, with a yield after each, unless another server is at it.

    Args:
        execute: executes a statement on one connection and returns its rows.
        retention_days: how old events become before they are erased. 0 means that they stay.
    """
    ((is_mine,),) = await execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
    if not is_mine:
        return
    async for _ in _forget_keys(execute):
        yield
    async for _ in _let_go_of_refusals(execute):
        yield
    if retention_days:
        async for _ in _retain(execute, retention_days):
            yield
    await execute("SELECT pg_advisory_unlock(%s)", [LOCK])


async def _forget_keys(execute: Execute) -> AsyncIterator[None]:
    """Delete the hashes of keys whose events were erased over 30 days ago."""
    for customer, receipt_id in await execute(_FIND_KEPT_KEYS, None):
        forgotten = STEP_EVENTS
        while forgotten == STEP_EVENTS:
            ((forgotten,),) = await execute(_FORGET, (customer, receipt_id, STEP_EVENTS))
            yield


async def _let_go_of_refusals(execute: Execute) -> AsyncIterator[None]:
    """Delete the refusals that are too old, of one customer after the other."""
    ((cutoff,),) = await execute(_FIND_REFUSALS_CUTOFF, [KEPT_DAYS])
    bound, customer, looked_at = make_bound(cutoff), "", 0
    while rows := await execute(FIND_NEXT_CUSTOMER, [customer]):
        ((customer,),) = rows
        await execute(DELETE_OLD, (customer, bound))
        looked_at += 1
        if looked_at % _SLICE_CUSTOMERS == 0:
            yield


async def _retain(execute: Execute, days: int) -> AsyncIterator[None]:
    """Begin an erasure for each customer with events that are too old.

    The primary key leads from one customer's oldest event to the next customer's, so that the others are not read.
    """
    ((cutoff,),) = await execute(_FIND_CUTOFF, [days])
    bound = f"{cutoff * 1000:012x}"
    customer, looked_at, begun = "", 0, 0
    while rows := await execute(_FIND_OLDEST, (cutoff, customer)):
        ((customer, oldest, before),) = rows
        looked_at += 1
        if oldest.replace("-", "")[:12] < bound:
            receipt_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{RETENTION} {customer}"))
            await execute(BEGIN, make_values(Erasure(customer, created_before=before), receipt_id, RETENTION))
            begun += 1
        if looked_at % _SLICE_CUSTOMERS == 0:
            yield
    log.info("retention looked for old events", extra={"customers": looked_at, "with_old_events": begun})
