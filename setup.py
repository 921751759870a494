# SPDX-License-Identifier: Apache-2.0
"""The wheel's data: what lies beside the package in a checkout goes to host/data (host/places.py finds it)."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
FOLDERS = ("boards", "models", "firmware", "linker")
MODULES = ("gen_board", "gen_headers", "gen_unicode", "generated", "memory_table", "stack_bound")
TOOLS = ("__init__.py", *(f"{name}.py" for name in MODULES), "scons/*.py")
"""Of tools/, what the build needs."""


def data_files() -> list[Path]:
    """All files of host/data, below this folder."""
    found = [HERE / "SConstruct", HERE / "LICENSE"]
    found += [path for folder in FOLDERS for path in (HERE / folder).rglob("*") if path.is_file()]
    found += [path for pattern in TOOLS for path in (HERE / "tools").glob(pattern)]
    return sorted(path for path in found if "__pycache__" not in path.parts)


class BuildWithData(build_py):
    """build_py that copies the data, too; an editable installation has them where they are."""

    def run(self) -> None:
        """Build the package."""
        super().run()
        if not self.editable_mode:
            for path in data_files():
                target = Path(self.build_lib, "host", "data", path.relative_to(HERE))
                target.parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(str(path), str(target), preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What the wheel has."""
        data = [str(Path(self.build_lib, "host", "data", path.relative_to(HERE))) for path in data_files()]
        return [*super().get_outputs(include_bytecode), *([] if self.editable_mode else data)]


setup(cmdclass={"build_py": BuildWithData})
