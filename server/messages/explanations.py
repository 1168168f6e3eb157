"""How much a batch tells about its refused events, so that a thousand of them cost no more than as many good ones."""

from server.messages.refusals import UNKNOWN_REPORTER, FieldViolation, InvalidRequest, Reporter
from server.messages.wording import NOT_EXPLAINED

_MAX_EVENTS = 100
_MAX_CHARACTERS = 64 << 10


class Explanations:
    """The explanations of one batch: the first refused events learn their faults, the others that they have any."""

    def __init__(self) -> None:
        """Create it without an event explained."""
        self._events = _MAX_EVENTS
        self._characters = _MAX_CHARACTERS

    @property
    def are_enough(self) -> bool:
        """Whether no other event is to be explained."""
        return self._events <= 0 or self._characters <= 0

    def refuse(self, violations: list[FieldViolation], reporter: Reporter = UNKNOWN_REPORTER) -> InvalidRequest:
        """Return the refusal of an event that has these violations."""
        if self.are_enough:
            return self.refuse_unexplained(reporter)
        self._events -= 1
        self._characters -= sum(len(field) + len(description) for field, description in violations)
        return InvalidRequest(violations, reporter)

    @staticmethod
    def refuse_unexplained(reporter: Reporter = UNKNOWN_REPORTER) -> InvalidRequest:
        """Return the refusal of an event whose faults were not looked for."""
        return InvalidRequest([FieldViolation("", NOT_EXPLAINED)], reporter)
