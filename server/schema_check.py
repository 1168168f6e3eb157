"""What a worker needs of its database before it starts: the schema, and what its role may do there."""

from server.variables import ConfigurationError
from storage import PrivilegesMissing, UnfitDatabase
from storage.schema import find_pending


def check_schema(url: str) -> None:
    """Raise ConfigurationError unless a worker can use the database `url`.

    Raises:
        ConfigurationError: it cannot be used, its schema is not up to date, or its role lacks privileges.
        DatabaseUnavailable: it cannot be reached.
    """
    try:
        missing = find_pending(url)
    except UnfitDatabase as error:
        raise ConfigurationError(f"DATABASE_URL: the database cannot be used: {error}") from None
    except PrivilegesMissing as error:
        raise ConfigurationError(f"DATABASE_URL: {error}") from None
    if missing:
        raise ConfigurationError(
            f"DATABASE_URL: the schema lacks {', '.join(missing)}: run `python -m storage.migrate` first"
        )
