"""The attacks, by their names. Each runs until it is cancelled."""

from tests.abuse.attacks import endless, floods, frames, memory, searches, slow, streams, work
from tests.abuse.attacks.registry import Attack

ATTACKS: dict[str, Attack] = {}
for _module in (endless, memory, work, searches, streams, slow, frames, floods):
    ATTACKS |= _module.attacks.all
