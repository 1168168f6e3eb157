"""Notes of what was refused, for the customer whose event it was.

A note is kept under a customer only if the caller may store events there, so that nobody fills another's list. Nothing
is done for an event that is stored.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from server.access.caller import Caller, get_caller
from server.ingest.batch import EventBatch
from server.ingest.refusal_log import RefusalLog
from server.messages.faults import Fault, find_event_fault, find_fault, format_violations, is_about_request
from server.messages.refusals import InvalidRequest, Reporter
from server.messages.rules import name_rule
from server.messages.statuses import find_violations
from server.metrics.catalog import EVENTS_REFUSED
from server.request_ids import Metadata, find_request_ids
from storage import Event, Refusal, make_id_and_time

JSON, GRPC = "json", "grpc"
"""The doors."""

_MAX_CHARACTERS = 255
_REPLAY = Fault("OK", [])


class Notes(NamedTuple):
    """The notes of one RPC."""

    log: RefusalLog
    rpc: str
    door: str

    def note_failure(self, error: Exception, find_reporter: Callable[[], Reporter], metadata: Metadata) -> None:
        """Note a call, or a chunk, that is refused as a whole.

        Args:
            error: why.
            find_reporter: returns who sent it, if the error does not say so.
            metadata: the metadata of the call.
        """
        if is_about_request(error):
            if violations := find_violations(error):
                EVENTS_REFUSED.add(self.door, name_rule(violations[0]))
            known = error.reporter if isinstance(error, InvalidRequest) else Reporter()
            reporter = known if known.customer_id else find_reporter()
            self._note(get_caller(), reporter, partial(find_fault, error), metadata)

    def note_batch(self, batch: EventBatch, metadata: Metadata) -> None:
        """Note what was refused of a batch or chunk, and what was stored before."""
        for refused in batch.refused:
            EVENTS_REFUSED.add(self.door, name_rule(refused.violations[0]))
            self._note(batch.caller, refused.reporter, partial(find_event_fault, refused.violations), metadata)
        for event in batch.replayed:
            self.note_replay(event, batch.caller, metadata)

    def note_replay(self, event: Event, caller: Caller, metadata: Metadata) -> None:
        """Note a create that was answered with an event that was stored before."""
        reporter = Reporter(event.customer_id, event.tool_signature)
        self._note(caller, reporter, lambda: _REPLAY, metadata, event.id)

    def _note(
        self,
        caller: Caller,
        reporter: Reporter,
        find: Callable[[], Fault],
        metadata: Metadata,
        replayed_event_id: str = "",
    ) -> None:
        customer_id = _find_customer(caller, reporter.customer_id)

        def make() -> Refusal:
            fault = find()
            tool = reporter.tool_signature[:_MAX_CHARACTERS]
            return Refusal(
                id=make_id_and_time()[0],
                rpc=self.rpc,
                door=self.door,
                code=fault.code,
                tool_signature=tool if _is_text(tool) else "",
                violations=format_violations(fault.violations),
                request_id=find_request_ids(metadata).request_id,
                replayed_event_id=replayed_event_id,
                omitted=0,
            )

        if customer_id:
            self.log.add(customer_id, make, is_replay=bool(replayed_event_id))


def _find_customer(caller: Caller, customer_id: str) -> str:
    """Return the customer whose note it is, or "" if nobody's."""
    if 0 < len(customer_id) <= _MAX_CHARACTERS and _is_text(customer_id):
        return customer_id if caller.may_write_some(customer_id) else ""
    # The request does not say.
    return caller.only_customer if caller.may_write_some(caller.only_customer) else ""


def _is_text(text: str) -> bool:
    """Return whether the database can store a text."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
