"""The process of one attack: `python -m tests.abuse.attacker NAME HTTP_PORT GRPC_PORT…`, until SIGTERM.

It prints a line once it has begun, and at the end what has happened to it, as JSON.
"""

import asyncio
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


async def attack(name: str, ports: Ports) -> None:
    """Attack until SIGTERM. Raise whatever ends the attack before."""
    chosen = ATTACKS[name]
    caller = Caller(chosen.door, ports)

    def report() -> None:
        print(json.dumps(caller.counts.most_common()), flush=True)
        # At once: an orderly end would wait for thousands of tasks.
        os._exit(0)

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, report)
    running = asyncio.ensure_future(chosen.run(caller))
    await asyncio.wait([running, asyncio.ensure_future(caller.begun.wait())], return_when=asyncio.FIRST_COMPLETED)
    print("begun", flush=True)
    await running
    raise AssertionError(f"the attack has ended by itself: {name}")


def main() -> None:
    """Run the attack that the command line names."""
    name, http_port, *grpc_ports = sys.argv[1:]
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=make_event_loop) as runner:
        runner.run(attack(name, Ports(int(http_port), tuple(map(int, grpc_ports)))))


if __name__ == "__main__":
    main()
