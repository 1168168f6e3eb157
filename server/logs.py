"""Structured logs: one JSON object per line on standard error, without any customer's data."""

import contextlib
import logging
import queue
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from typing import TextIO

import orjson

from server.metrics.catalog import LOG_DROPPED

log = logging.getLogger(__name__)

# How long the end of a process waits for somebody to read its last lines.
_FLUSH_SECONDS = 1.0

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


class StreamWriter(logging.Handler):
    """Writes lines in a thread of its own. While nobody reads them, lines are dropped and counted; no call waits."""

    def __init__(self, stream: TextIO, *, max_lines: int = 1_000) -> None:
        """Start the thread.

        Args:
            stream: where the lines go.
            max_lines: how many may wait to be written.
        """
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(max_lines)
        self._dropped = 0
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line over, or drop it."""
        # Formatted now, because what it tells may change.
        line = self.format(record)
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1
            LOG_DROPPED.add()

    def flush(self) -> None:
        """Wait until all lines are written, but not for long."""
        end = time.monotonic() + _FLUSH_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.005)

    def _run(self) -> None:
        while True:
            self._write(self._lines.get())
            self._lines.task_done()
            if self._dropped and self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                log.error("nobody read the log: lines are missing", extra={"lines": dropped})

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # The stream is closed.
            self._stream.write(line + "\n")
            self._stream.flush()


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
    handler = StreamWriter(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("asyncio", "peewee"):
        # At DEBUG they log every turn of the event loop and every statement.
        logging.getLogger(name).setLevel(logging.INFO)
    # It quotes headers that it cannot decode, and logs callers that go away as errors. Calls that fail are logged by
    # `server.rpc.errors`.
    logging.getLogger("grpc._cython").setLevel(logging.CRITICAL)
    # It has lines for each export that fails, and for headers of callers. `server.tracing` says what has to be known.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    # Exceptions that nobody can catch, such as those psycopg2 prints in a COPY that breaks off, may quote a row. The
    # COPY itself fails too, and that is logged where it is caught.
    sys.excepthook = lambda kind, error, trace: _log_uncaught(error, logging.ERROR if trace else logging.WARNING)
    sys.unraisablehook = lambda unraisable: _log_uncaught(unraisable.exc_value, logging.WARNING)
    threading.excepthook = lambda arguments: _log_uncaught(arguments.exc_value)


def _log_uncaught(error: BaseException | None, level: int = logging.ERROR) -> None:
    log.log(level, "uncaught error", exc_info=error)
