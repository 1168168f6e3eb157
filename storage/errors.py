"""Everything that storage reports as an error, named for what its callers can do about it."""


class StorageError(Exception):
    """The base of every error that storage raises or returns on purpose."""


class DatabaseUnavailable(StorageError):
    """The database cannot be reached. A write in flight may have been committed. A retry may succeed."""


class NodeUnavailable(DatabaseUnavailable):
    """The database can be reached, but not one of its nodes. Other customers' events may be on others."""


class DatabaseFull(DatabaseUnavailable):
    """The database can be reached, and its disk is full."""


class CommitsWait(DatabaseUnavailable):
    """The database can be reached, and its commits wait for a synchronous standby that does not answer."""


class EventRefused(StorageError):
    """The database refused this one event, whatever was written with it. A retry will not help."""


class KeyReused(StorageError):
    """The idempotency key belongs to a different event of the same customer. Nothing was stored."""


class KeyErased(StorageError):
    """The idempotency key belongs to an event that was erased. Nothing was stored."""


class UserBlocked(StorageError):
    """Events of this user are refused, since the user's events were erased. Nothing was stored."""


class TooManyBlocked(StorageError):
    """No more users can be blocked. Nothing was erased."""


class TooManyErasures(StorageError):
    """The customer has too many erasures that are not finished. Nothing was erased. A retry may succeed."""


class KeyInProgress(StorageError):
    """Another writer holds the event with this idempotency key and is slow to commit it. A retry gets its outcome."""


class WriteFailed(StorageError):
    """The database answered a write with an unexpected error, which is in the log. Nothing was stored."""


class SearchTimedOut(StorageError):
    """The search ran into its statement timeout."""


class TooManySearches(StorageError):
    """The queue of searches is full. A retry may succeed."""


class TooManyLookups(StorageError):
    """As many keys are being looked up as may be. A retry may succeed."""


class PageTooLarge(StorageError):
    """The events of a page hold more text than one response may carry."""


class SummaryTooLarge(StorageError):
    """The events of a summary have too many different values to be counted in memory."""


class PositionLost(StorageError):
    """The database is not the one that a watch has begun on, or has gone back behind it."""


class UnfitDatabase(Exception):
    """The database, or the way to it, is none that the service can use. The text says why, in one line."""


class PrivilegesMissing(Exception):
    """The role that connects to the database may not do what a server does there, so no server starts."""
