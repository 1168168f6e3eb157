"""Unknown fields, where an operator has chosen to ignore them: they are counted and named to the caller."""

import logging
import time
from collections.abc import Iterable

from server.messages.json_codec.names import print_ignored

log = logging.getLogger(__name__)

HEADER = "x-ignored-fields"

_LOG_SECONDS = 60.0


class IgnoredFields:
    """The count of unknown fields that were ignored."""

    def __init__(self, *, enabled: bool) -> None:
        """Create an empty count.

        Args:
            enabled: whether unknown fields are ignored rather than refused.
        """
        self.enabled = enabled
        self._count = 0
        self._logged_at = float("-inf")

    def count(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Count the ignored fields of one request, and return the header that names them, if there are any."""
        ignored = list(names)
        if not ignored:
            return []
        self._count += len(ignored)
        now = time.monotonic()
        if now - self._logged_at > _LOG_SECONDS:
            self._logged_at = now
            log.info("unknown fields ignored since the start", extra={"fields": self._count})
        return [(HEADER, print_ignored(ignored))]
