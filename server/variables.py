"""Variables of the environment, read and refused in the same way by all parts."""

from collections.abc import Mapping, Sequence

SHARES = 10_000
"""In as many parts a share of the requests is given."""


class ConfigurationError(Exception):
    """An environment variable that cannot be used. The message is one line that names it."""


def read_number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return the number in the variable `name`, or `default` if it is absent or empty.

    Raises:
        ConfigurationError: it is not a number from `least` to `most`.
    """
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ConfigurationError(f"{name} is {text!r}: it must be a number from {least} to {most}")
    return int(text)


def read_word(environment: Mapping[str, str], name: str, words: Sequence[str]) -> str:
    """Return which of `words` the variable holds: if it is absent or empty, the first."""
    word = environment.get(name) or words[0]
    if word not in words:
        raise ConfigurationError(f"{name} is {word!r}: it must be {' or '.join(words)}")
    return word
