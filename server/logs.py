"""Structured logs: one JSON object per line on standard error, without any customer's data."""

import logging
import sys
import threading
import traceback
from datetime import UTC, datetime

import orjson

# The attributes of every LogRecord. All others come from `extra=`.
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """A formatter of records as JSON: time, level, logger, event, the extras, and the exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = _describe(record.exc_info[1])
        return orjson.dumps(line, default=repr).decode()


def _describe(error: BaseException | None) -> str:
    """Return the traceback of the error and its causes: types and lines of code, but no messages.

    A message may quote data, such as a row of the database or a field of a request.
    """
    parts = []
    while error is not None:
        parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\ncaused by\n".join(parts)


def configure(level: int) -> None:
    """Send all logs of the process to standard error in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("asyncio", "peewee"):
        # At DEBUG they log every turn of the event loop and every statement.
        logging.getLogger(name).setLevel(logging.INFO)
    # It quotes headers that it cannot decode, and logs callers that go away as errors. Calls that fail are logged by
    # `server.rpc.errors`.
    logging.getLogger("grpc._cython").setLevel(logging.CRITICAL)
    # Exceptions that nobody can catch, such as those psycopg2 prints in a COPY that breaks off, may quote a row. The
    # COPY itself fails too, and that is logged where it is caught.
    sys.excepthook = lambda kind, error, trace: _log_uncaught(error, logging.ERROR if trace else logging.WARNING)
    sys.unraisablehook = lambda unraisable: _log_uncaught(unraisable.exc_value, logging.WARNING)
    threading.excepthook = lambda arguments: _log_uncaught(arguments.exc_value)


def _log_uncaught(error: BaseException | None, level: int = logging.ERROR) -> None:
    logging.getLogger(__name__).log(level, "uncaught error", exc_info=error)
