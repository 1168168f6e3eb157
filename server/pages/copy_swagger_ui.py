"""Copies Swagger UI from its package to the directory swagger-ui (`make pages`), compressed as Envoy sends it."""

import gzip
from importlib.metadata import distribution
from pathlib import Path

FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
"""What the page /docs loads."""

COPIES = Path(__file__).resolve().parent / "swagger-ui"
"""Where the copies are, with the licenses of Swagger UI and of what is in it."""


def read_original(name: str) -> bytes:
    """Return a file as the installed package has it."""
    return Path(str(distribution("flask-swagger-ui").locate_file(f"flask_swagger_ui/dist/{name}"))).read_bytes()


def main() -> None:
    """Write the copies."""
    for name in FILES:
        (COPIES / f"{name}.gz").write_bytes(gzip.compress(read_original(name), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
