"""`python -m server.stack`: runs the whole service until Ctrl-C.

Exits with 0 after Ctrl-C or SIGTERM, with 2 if an environment variable cannot be used, and with 1 on any other failure.
"""

import argparse
import os
import signal
import sys


def main() -> int:
    """Run the stack and return the exit status."""
    argparse.ArgumentParser(
        prog="python -m server.stack",
        description="Run the whole service until Ctrl-C. Environment variables configure it: see docs/operations.md.",
        allow_abbrev=False,
    ).parse_args()
    # Until something has been started, Ctrl-C only has to end this process without a traceback. The imports below are
    # slow, so they come after this.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # See leave_root.
    import asyncio

    from server.stack import console
    from server.stack.os_user import leave_root
    from server.stack.settings import StackError, read_stack_settings
    from server.variables import ConfigurationError

    try:
        settings = read_stack_settings(os.environ)
        if os.geteuid() == 0:
            leave_root(settings.data_dir)
        os.umask(0o077)
        from server.stack.supervisor import Supervisor

        asyncio.run(Supervisor(settings).run())
    except ConfigurationError as error:
        console.log("stack", str(error))
        return 2
    except StackError as error:
        console.log("stack", str(error))
        return 1
    except OSError as error:
        console.log("stack", f"DATA_DIR={settings.data_dir}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
