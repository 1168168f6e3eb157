"""Values of labels that are made from names in the code."""

import re
from functools import cache


def name_type(kind: type[object]) -> str:
    """Return the name of a type as a label has it: database_unavailable for DatabaseUnavailable."""
    return _to_snake_case(kind.__name__)


@cache
def _to_snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
