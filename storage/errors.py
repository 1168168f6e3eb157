"""What can go wrong in storage, in the words of its callers."""


class StorageError(Exception):
    """The base of every error that storage raises on purpose."""


class DatabaseUnavailable(StorageError):
    """The database cannot be reached. Whether an event in flight was stored is not known; a later try may succeed."""


class QueueFull(StorageError):
    """Too much is waiting already. Nothing was stored or searched; a later try may succeed."""


class EventRefused(StorageError):
    """The database refused this one event, whatever else was written with it. Trying again will not help."""


class KeyReused(StorageError):
    """The idempotency key belongs to another event of the customer. Nothing was stored."""


class KeyInProgress(StorageError):
    """An event with this idempotency key is being written elsewhere, and takes long. A later try gets its answer."""


class WriteFailed(StorageError):
    """The database answered a write with an error that nobody foresaw. Nothing was stored; the log says more."""


class SearchTimedOut(StorageError):
    """The database gave up a search at its statement timeout."""


class PageTooLarge(StorageError):
    """The events of a page hold more text than one answer may carry."""
