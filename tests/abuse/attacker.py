"""The process of one attack: `python -m tests.abuse.attacker NAME HTTP_PORT GRPC_PORT…`, until SIGTERM.

It prints a line once it has done something, and at the end what has happened to it, as JSON.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys

from server.event_loop import make_event_loop
from tests.abuse.attacks import ATTACKS
from tests.abuse.caller import Caller, Ports

_NICENESS = 19
"""The attacker shares the machine with the service: it takes what the service leaves."""


async def attack(name: str, ports: Ports) -> Caller:
    """Attack until SIGTERM, and return the attacker. Raise whatever ends the attack before."""
    chosen = ATTACKS[name]
    caller = Caller(chosen.door, ports)
    running = asyncio.ensure_future(chosen.run(caller))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    while not running.done() and not caller.counts:
        await asyncio.wait([running], timeout=0.02)
    print("begun", flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await running
        raise AssertionError(f"the attack has ended by itself: {name}")
    return caller


def main() -> None:
    """Run the attack that the command line names."""
    name, http_port, *grpc_ports = sys.argv[1:]
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=make_event_loop) as runner:
        caller = runner.run(attack(name, Ports(int(http_port), tuple(map(int, grpc_ports)))))
        print(json.dumps(caller.counts.most_common()), flush=True)
        # Not the loop's own end, which would wait for thousands of tasks.
        os._exit(0)


if __name__ == "__main__":
    main()
