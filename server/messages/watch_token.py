"""Resume tokens of watches: the position in the database's own terms, so that any worker can go on from it."""

import struct
import uuid
from collections.abc import Sequence
from itertools import accumulate, pairwise

from server.messages.page_token import seal, unseal
from storage import Snapshot, WatchPosition

# A token has at most 4,096 characters.
_MAX_RUNNING = 700

_MAX_NUMBER = 2**63 - 1
_HEAD = struct.Struct(">16sqIQQQQ?")
_SNAPSHOT = struct.Struct(">QIH")


class TokenMaker:
    """The maker of the tokens of one interval, which differ by the event that each stands behind."""

    def __init__(self, position: WatchPosition, asked: Sequence[str]) -> None:
        """Take what all of them say.

        Args:
            position: a position in the interval.
            asked: the texts that the request asks with.
        """
        self._last_id = position.last_id
        self._asked = asked
        snapshots = [each for each in (position.seen, position.upto) if each is not None]
        # More is rare: a database with hundreds of transactions that write at the same moment.
        self._is_short = sum(len(each.running) for each in snapshots) <= _MAX_RUNNING
        self._rest = b""
        if self._is_short:
            numbers = (position.timeline, position.upto_at, position.floor_at, position.mark_at, position.mark)
            head = _HEAD.pack(bytes(16), position.system, *numbers, position.upto is not None)
            self._rest = head[16:] + b"".join(map(_pack_snapshot, snapshots))

    def make(self, last_id: str = "") -> str:
        """Return the token behind the event with this id, or of the position. It is "" if it would be too long."""
        if not self._is_short:
            return ""
        return seal(uuid.UUID(last_id or self._last_id).bytes + self._rest, self._asked)


def read_token(token: str, asked: Sequence[str]) -> WatchPosition | None:
    """Return the position that a token says, or None if no watch that asks the same has sent it."""
    body = unseal(token, asked)
    if body is None:
        return None
    try:
        last_id, system, timeline, upto_at, floor_at, mark_at, mark, has_upto = _HEAD.unpack_from(body)
        seen, end = _unpack_snapshot(body, _HEAD.size)
        upto = None
        if has_upto:
            upto, end = _unpack_snapshot(body, end)
    except struct.error:
        return None
    # Anybody can make a checksum, and the database refuses what is no snapshot.
    if end != len(body) or not all(map(_is_snapshot, (seen, upto or seen))):
        return None
    return WatchPosition(system, timeline, seen, upto, upto_at, str(uuid.UUID(bytes=last_id)), floor_at, mark_at, mark)


def _is_snapshot(snapshot: Snapshot) -> bool:
    numbers = (*snapshot.running, snapshot.next)
    return 0 < snapshot.first <= numbers[0] and numbers[-1] <= _MAX_NUMBER and all(a < b for a, b in pairwise(numbers))


def _pack_snapshot(snapshot: Snapshot) -> bytes:
    """Return a snapshot in few bytes: of each number, by how much it exceeds the one before."""
    first, following, running = snapshot
    steps = [after - before for before, after in pairwise((first, *running))]
    return _SNAPSHOT.pack(first, following - first, len(steps)) + struct.pack(f">{len(steps)}I", *steps)


def _unpack_snapshot(body: bytes, start: int) -> tuple[Snapshot, int]:
    """Return the snapshot that begins there, and where it ends."""
    first, length, count = _SNAPSHOT.unpack_from(body, start)
    start += _SNAPSHOT.size
    steps = struct.unpack_from(f">{count}I", body, start)
    running = tuple(accumulate(steps, initial=first))[1:]
    return Snapshot(first, first + length, running), start + 4 * count
