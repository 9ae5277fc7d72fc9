"""Compiles the native kernels when a wheel or an editable install is made.

Where no compiler is installed, ziglang from PyPI serves during the build. If that is not to be had,
the wheel is pure Python and the engine runs on NumPy, with a warning. OXILLAMA_KERNELS_BUILD=skip
leaves the kernels out: the browser's wheel gets its own.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs kernels_c/build.py and tags the wheel for this machine."""

    def dependencies(self) -> list[str]:
        """Return what the build needs beside hatchling; called before `initialize`."""
        build = load_build_script(Path(self.root))
        if _skips_kernels() or build.installed_compiler() or build.machine() == "other":
            return []
        return [build.ZIG]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before files are collected."""
        if _skips_kernels():
            return
        build = load_build_script(Path(self.root))
        try:
            build.build_native()
        except build.BuildError as error:
            self.app.display_warning(f"no native kernels, the engine will run on NumPy: {error}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"


def _skips_kernels() -> bool:
    return os.environ.get("OXILLAMA_KERNELS_BUILD") == "skip"


def load_build_script(root: Path) -> ModuleType:
    """kernels_c/build.py, which is no package."""
    spec = importlib.util.spec_from_file_location("kernels_build", root / "kernels_c" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module
