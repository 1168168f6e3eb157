"""The events of a batch read one by one, where one of a slice was not accepted."""

from collections import Counter
from collections.abc import Iterator, Sequence

from server.messages import wording
from server.messages.explanations import Explanations
from server.messages.json_codec.create import CreateReader
from server.messages.json_codec.elements import Elements
from server.messages.json_codec.fields import Read
from server.messages.json_codec.places import Places
from server.messages.json_codec.split import MAX_VALUE_BYTES
from server.messages.json_codec.strict import Unreadable
from server.messages.json_codec.walk import Budget
from server.messages.refusals import FieldViolation, InvalidRequest
from storage import Event

Slice = list[Event | InvalidRequest]
"""Some events of a batch, each as the event under its new id, or as what is wrong with it."""

# What may be spent on the faults of one batch: about 0.15 s.
_BUDGET = 120_000
_PAUSE_TOKENS = 5_000
_PAUSE_BYTES = 16 << 10

# An event that is to be explained costs a token for so many bytes, beside those that it has.
_BYTES_A_TOKEN = 100

_MAX_IGNORED_NAMES = 100


class OneByOne:
    """The reader of those events of one batch that are read one by one, with a budget for all of them."""

    def __init__(self, creates: CreateReader, body: bytes, explanations: Explanations) -> None:
        self.ignored: Counter[str] = Counter()
        """How often fields that are not known were ignored, by their names.

        After many different names, those of others are not kept, and they are counted under "…".
        """
        self._creates = creates
        self._explanations = explanations
        self._budget = Budget(_BUDGET)
        self._places = Places(body)

    def read(self, elements: Elements, indexes: range) -> Iterator[Slice]:
        """Yield some of the elements as events, from first to last.

        Raises:
            InvalidRequest: the batch is refused as a whole.
        """
        events: Slice = []
        pause_at, size = self._budget.tokens - _PAUSE_TOKENS, 0
        for index in indexes:
            events.append(self._read_one(elements, index))
            size += len(elements.texts[index])
            if self._budget.tokens < pause_at or size > _PAUSE_BYTES:
                yield events
                events, pause_at, size = [], self._budget.tokens - _PAUSE_TOKENS, 0
        yield events

    def _read_one(self, elements: Elements, index: int) -> Event | InvalidRequest:
        text = bytes(elements.texts[index])
        if len(text) > MAX_VALUE_BYTES:
            return self._explanations.refuse([FieldViolation("", wording.TOO_LARGE)])
        try:
            return self._make_event(Read(*self._creates.fields.read(text)))
        except Unreadable:
            pass
        budget = self._budget
        place = self._places.find(elements.find_start(index))
        elements.check_brackets(index, place)
        budget.tokens -= len(text) // _BYTES_A_TOKEN
        if budget.tokens <= 0 or self._explanations.are_enough:
            return self._explanations.refuse_unexplained()
        try:
            read = self._creates.explain(text, place, budget)
        except InvalidRequest as error:
            return self._explanations.refuse(error.violations, error.reporter)
        return self._make_event(read)

    def _make_event(self, read: Read) -> Event | InvalidRequest:
        self.count_ignored(read.ignored)
        columns = [(text,) for text in read.texts]
        (event,) = self._creates.kind.make_events(columns, [read.version_info], self._explanations)
        return event

    def count_ignored(self, names: Sequence[str]) -> None:
        """Count names that were ignored."""
        for name in names:
            is_kept = name in self.ignored or len(self.ignored) < _MAX_IGNORED_NAMES
            self.ignored[name if is_kept else "…"] += 1
