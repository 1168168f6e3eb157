"""What the wheel of the server has beside its modules: the files that Envoy reads, in the directory `server/envoy`.

They lie there to one another as in a checkout. An editable installation uses those of its checkout.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_FILES = ("envoy.yaml", "envoy.lua", "generated/analytics.binpb", "generated/envoy.binpb", "generated/openapi.json")
_DIRECTORIES = ("server/browser", "server/pages")


class EnvoyFiles(BuildHookInterface[Any]):
    """Adds the files to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them, unless the installation is editable."""
        if version == "standard":
            root = Path(self.root)
            files = [file for name in _DIRECTORIES for file in (root / name).rglob("*") if file.is_file()]
            names = [*_FILES, *(str(file.relative_to(root)) for file in files if file.suffix not in (".py", ".pyc"))]
            build_data["force_include"] |= {name: f"server/envoy/{name}" for name in names}
