"""The names of accounts, for messages."""

import pwd


def name_account(uid: int) -> str:
    """Return the name of an account, or its number where it has none, as in many containers."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
