"""The protos' rules compiled into a fast check of whether a message keeps all of them.

protovalidate finds and describes what is wrong, but takes 5 to 8 µs to report that nothing is. For the few kinds of
rule that creates have, 1 µs is enough. The rules are read from the same annotations, so a limit changed in a proto
changes here too. A rule of any other kind raises an error at import, so none is overlooked.
"""

from collections.abc import Sequence
from operator import attrgetter, itemgetter, le
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2


def get_field_rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """Return the annotations of a field."""
    options: Any = field.GetOptions()
    rules: validate_pb2.FieldRules = options.Extensions[validate_pb2.field]
    return rules


def get_message_rules(message: Descriptor) -> validate_pb2.MessageRules:
    """Return the annotations of a message as a whole."""
    options: Any = message.GetOptions()
    rules: validate_pb2.MessageRules = options.Extensions[validate_pb2.message]
    return rules


class CompiledRules:
    """The rules of a type of message whose rules are all on its string fields."""

    def __init__(self, message: Descriptor, names: Sequence[str]) -> None:
        """Compile the rules of `message`.

        Args:
            message: the type of message.
            names: its string fields, in the order in which `read` returns them.

        Raises:
            NotImplementedError: the type has a field or a kind of rule that this class does not support.
        """
        self.read = cast("attrgetter[tuple[str, ...]]", attrgetter(*names))
        """Return the values of a message's string fields, in the order of `names`."""
        rules = dict(_find_string_rules(message))
        if set(rules) != set(names):
            raise NotImplementedError(f"{message.full_name}: `names` is not the list of its string fields")
        self._limits = [rules[name].string.max_len or _NO_LIMIT for name in names]
        # Both select from a message's values as from the columns of many.
        self._required: Any = itemgetter(*[names.index(name) for name in names if rules[name].required])
        self._listed = [
            (names.index(name), frozenset(allowed)) for name in names if (allowed := getattr(rules[name].string, "in"))
        ]
        self._groups: list[tuple[Any, int]] = [
            (itemgetter(*map(names.index, group)), len(group) - 1) for group in _find_groups(message)
        ]

    def hold_for(self, values: tuple[str, ...]) -> bool:
        """Return whether `values`, as `read` returns them, keep every rule. If not, protovalidate describes why."""
        if not (all(map(le, map(len, values), self._limits)) and all(self._required(values))):
            return False
        if "\0" in "\t".join(values):
            return False
        for index, allowed in self._listed:
            if values[index] not in allowed:
                return False
        return all(group(values).count("") == absent for group, absent in self._groups)

    def hold_for_all(self, columns: Sequence[Sequence[str]]) -> bool:
        """Return whether each of many messages keeps every rule, in a third of the time of one after another.

        Args:
            columns: of each field, in the order of `read`, its values in all the messages.
        """
        for column, limit in zip(columns, self._limits, strict=True):
            text = "".join(column)
            if "\0" in text or (len(text) > limit and max(map(len, column)) > limit):
                return False
        if any("" in column for column in self._required(columns)):
            return False
        if not all(allowed.issuperset(columns[index]) for index, allowed in self._listed):
            return False
        return all(
            values.count("") == absent for group, absent in self._groups for values in zip(*group(columns), strict=True)
        )


_NO_LIMIT = 1 << 62


def _find_string_rules(message: Descriptor) -> "list[tuple[str, validate_pb2.FieldRules]]":
    found = []
    for field in message.fields:
        rules = get_field_rules(field)
        if field.type == FieldDescriptor.TYPE_STRING:
            known = {"required", "string"} >= {part.name for part, _ in rules.ListFields()}
            kinds = {part.name for part, _ in rules.string.ListFields()}
            in_list = kinds == {"in"}
            if not known or not (in_list or kinds == {"max_len", "not_contains"}) or field.is_repeated:
                raise NotImplementedError(f"{field.full_name}: a kind of rule that is not supported")
            if not in_list and rules.string.not_contains != "\0":
                raise NotImplementedError(f"{field.full_name}: not_contains of anything but U+0000 is not supported")
            found.append((field.name, rules))
        elif rules.ListFields() and rules.ignore != validate_pb2.IGNORE_ALWAYS:
            raise NotImplementedError(f"{field.full_name}: a rule of a field that is no string is not supported")
    return found


def _find_groups(message: Descriptor) -> list[Sequence[str]]:
    rules = get_message_rules(message)
    if {part.name for part, _ in rules.ListFields()} - {"oneof"} or not all(
        rule.required and len(rule.fields) > 1 for rule in rules.oneof
    ):
        raise NotImplementedError(f"{message.full_name}: a kind of rule that is not supported")
    return [rule.fields for rule in rules.oneof]
