"""The exporter of the protos (`make protos`): one folder with our files and all that they import, for any compiler."""

import argparse
import shutil
import tempfile
from pathlib import Path

from generate import PROTOS, ROOTS, write_image
from google.protobuf.descriptor_pb2 import FileDescriptorSet


def export(out: Path) -> None:
    """Write every file that is needed to the directory `out`, replacing an older one.

    The files with the details of refusals are among them, although no other imports them.
    """
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        write_image(image, source_info=False)
        names = [file.name for file in FileDescriptorSet.FromString(image.read_bytes()).file]
    shutil.rmtree(out, ignore_errors=True)
    for name in names:
        source = next(root / name for root in ROOTS if (root / name).exists())
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, out / name)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write the protos, with all that they import, to one folder.")
    parser.add_argument("--out", type=Path, default=PROTOS.parent / "build" / "protos", help="where to write")
    export(parser.parse_args().out)


if __name__ == "__main__":
    main()
