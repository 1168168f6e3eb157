"""The check of the protos (part of `make lint`): their style, and that they break no caller of the last release."""

import subprocess
import sys
import tempfile
from pathlib import Path

from generate import PROTOS, RELEASED_IMAGE, write_image

LINT_ADVICE = "The protos break a rule of style: see the lines above, and the rules in protos/buf.yaml."

BREAKING_ADVICE = f"""\
The protos break callers of the last release, whose descriptors are in protos/{RELEASED_IMAGE.name}. Either:
- make the change compatible: keep names, numbers, types and JSON names as they were released, add new fields beside
  the old ones, and mark a field that callers should stop using as `deprecated`; or
- make the change in a new package version, such as data_analytics.v2, and keep the released one as it is.
Do not replace protos/{RELEASED_IMAGE.name} to get past this check: it changes only when a release is cut."""

_FOUND_SOMETHING = 100  # buf's exit status; it has others for when it cannot run


def run_buf(command: str, image: Path, *arguments: str) -> bool:
    """Run buf, which prints what it finds, and return whether it found nothing. Exit if it fails.

    Args:
        command: a command of buf, such as "lint".
        image: the descriptors to check.
        arguments: further arguments of the command.
    """
    program = Path(sys.executable).parent / "buf"
    arguments = (command, str(image), *arguments, "--config", str(PROTOS / "buf.yaml"))
    status = subprocess.run([program, *arguments], stdout=sys.stderr, check=False).returncode  # noqa: S603 - our own arguments
    if status not in (0, _FOUND_SOMETHING):
        sys.exit(status)
    return status == 0


def main() -> None:
    """Run both checks, and exit with what to do if one fails."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        write_image(image, source_info=True)
        advice = []
        if not run_buf("lint", image):
            advice.append(LINT_ADVICE)
        if not run_buf("breaking", image, "--against", str(RELEASED_IMAGE)):
            advice.append(BREAKING_ADVICE)
    if advice:
        sys.exit("\n" + "\n\n".join(advice))


if __name__ == "__main__":
    main()
