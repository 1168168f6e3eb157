"""`make release`: build the wheels of the version that is checked out, and try them out."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.release.sources import NotReadyError, check_commit, export_commit, read_version
from tests.release.trial import try_out
from tests.release.wheels import build_wheels, install_wheels
from tests.support.processes import ROOT

DIST = ROOT / "dist"


def main() -> int:
    """Write the wheels to dist/, print what to do next, and return the exit status."""
    try:
        version = read_version(ROOT)
        check_commit(ROOT, version)
        # Only now, so that nothing changes in a checkout that is not to be released.
        subprocess.run([sys.executable, "protos/generate.py", "--release-image"], cwd=ROOT, check=True)
        check_commit(ROOT, version)
    except NotReadyError as error:
        print(error, file=sys.stderr)
        return 1
    time = int(subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True).stdout)
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        directory = Path(name)
        sources, out = directory / "sources", directory / "dist"
        sources.mkdir()
        export_commit(ROOT, sources)
        wheels = build_wheels(sources, out, time=time)
        print(f"installing {', '.join(wheel.name for wheel in wheels)} …")
        try_out(
            install_wheels(wheels, sources / "locks" / "server.txt", directory / "venv"), version, directory / "run"
        )
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(out, DIST)
    print(f"dist/ has the wheels of {version}. Next: git tag v{version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
