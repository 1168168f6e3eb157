"""The database that commands of an operator work on, as the owner of its tables."""

from collections.abc import Mapping

from storage.connection import check_url


def read_owner_url(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the name of the variable that names the database, and its value, a libpq connection URI or string.

    Raises:
        ValueError: neither variable is set, or the value is malformed. The text is one line that says so.
    """
    variable = "OWNER_DATABASE_URL" if environment.get("OWNER_DATABASE_URL") else "DATABASE_URL"
    if not (url := environment.get(variable, "")):
        raise ValueError(
            "OWNER_DATABASE_URL is not set, nor is DATABASE_URL: they name the database; `make run` prints the first"
        )
    try:
        check_url(url)
    except ValueError as error:
        raise ValueError(f"{variable} is malformed: {error}") from None
    return variable, url
