"""One create, from the JSON of a body to an event."""

from collections.abc import Sequence
from typing import Any

from server.messages.convert import CreateKind
from server.messages.json_codec.explain import Explanation, Names
from server.messages.json_codec.fields import FieldReader, Read
from server.messages.json_codec.places import Place
from server.messages.json_codec.strict import Unreadable
from server.messages.json_codec.walk import Budget
from server.messages.refusals import InvalidRequest, Reporter
from server.messages.wording import require_one_of
from storage import Event

_BOM = b"\xef\xbb\xbf"

# An event that keeps the limits takes fewer tokens than this, so one that takes more is refused in any case.
_MAX_TOKENS = 40_000


class CreateReader:
    """The reader of one kind of create."""

    def __init__(self, kind: CreateKind[Any], *, ignore_unknown: bool = False) -> None:
        """Compile the reader.

        Args:
            kind: the kind of create.
            ignore_unknown: whether fields that are not known are ignored, in place of refused.
        """
        self.kind = kind
        self.fields = FieldReader(kind.request.DESCRIPTOR, kind.text_fields, ignore_unknown=ignore_unknown)
        self._names = Names(frozenset(self.fields.names), self.fields.object_name, ignore_unknown)

    def read(self, body: bytes, key: str = "") -> tuple[Event, Sequence[str]]:
        """Return the event that `body` asks to store, under a new id, and the names of the fields that were ignored.

        Args:
            body: the body of one create.
            key: the idempotency key in the call's metadata, or "".

        Raises:
            InvalidRequest: the body is not JSON, or breaks a rule. The violations have the names of JSON.
        """
        text = strip_bom(body)
        try:
            texts, version_info, ignored = self.fields.read(text)
        except Unreadable:
            texts, version_info, ignored = self.explain(text, Place(1, 1), Budget(_MAX_TOKENS), key)
        return self.kind.make_event(texts, version_info, key), ignored

    def explain(self, text: bytes, place: Place, budget: Budget, key: str = "") -> Read:
        """Return what a text holds that the fast reader did not accept, or rather say why not.

        Args:
            text: the JSON text of one event.
            place: where it begins in its body.
            budget: what may be spent.
            key: the idempotency key in the call's metadata, or "".

        Raises:
            InvalidRequest: the text is not JSON, or breaks a rule.
        """
        found = Explanation(text.decode("utf-8", "surrogateescape"), place, self._names, budget)
        texts = tuple([found.texts.get(name, "") for name in self.fields.names])
        violations = found.faults
        if found.is_whole:
            faulty = found.faulty_fields
            violations += [each for each in self.kind.find_violations(texts) if each.field not in faulty]
            if faulty.intersection(self.kind.entity_names):
                # The entity may be sent under the name that is at fault.
                violations = [each for each in violations if each != require_one_of(self.kind.entity_names)]
        violations += found.version_info_faults
        violations += self.kind.find_key_violations(texts, key)
        if violations:
            reporter = Reporter(*[found.texts.get(name, "") for name in Reporter._fields])
            raise InvalidRequest(violations, reporter)
        return Read(texts, found.version_info, found.ignored)


def strip_bom(body: bytes) -> bytes:
    """Return `body` without the byte order mark that it may begin with."""
    return body.removeprefix(_BOM)
