"""Compiles the leaf of the layout reader where a C compiler is found; everything works without it, more slowly.

FHIRBRIDGE_PURE=1 leaves it out. The wheel is tagged for what is in it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

SOURCE = "fhirbridge/layout/native/leaf.c"
TARGET = "fhirbridge/layout/_leaf.abi3.so"
_MOST_SECONDS = 120


class LeafBuildHook(BuildHookInterface):
    """Runs before a wheel is made, an editable one too."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        target = Path(self.root) / TARGET
        reason = "FHIRBRIDGE_PURE=1"
        if os.environ.get("FHIRBRIDGE_PURE") != "1":
            reason = compiled(Path(self.root) / SOURCE, target)
        if reason:
            # One of an earlier build would be taken for that of this source.
            target.unlink(missing_ok=True)
            self.app.display_warning(f"without the compiled reader, which is several times faster: {reason}")
            return
        build_data["pure_python"] = False
        # The leaf uses the stable ABI of Python 3.11 only.
        build_data["tag"] = f"cp311-abi3-{_platform()}"
        build_data["force_include"][str(target)] = TARGET


def compiled(source: Path, target: Path) -> str:
    """Compile; an empty text, or why that was not possible."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if os.name != "posix" or sys.implementation.name != "cpython":
        return "it is compiled for CPython on Linux and macOS"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it wants a Python with the global lock"
    if shutil.which(compiler[0]) is None:
        return f"no C compiler ({compiler[0]})"
    if not header.is_file():
        return "no headers of Python (Debian: python3-dev)"
    link = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    # Beside its place first: a process that has the old one loaded keeps it.
    made = target.with_suffix(f".{os.getpid()}")
    options = ["-O2", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-shared", f"-I{header.parent}"]
    try:
        subprocess.run(  # noqa: S603 - the compiler that Python was built with, or the one in CC
            [*compiler, *options, *link, str(source), "-o", str(made)],
            check=True,
            capture_output=True,
            timeout=_MOST_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        made.unlink(missing_ok=True)
        return "the C compiler failed"
    made.replace(target)
    return ""


def _platform() -> str:
    """The platform of this machine, without a promise for others."""
    return next(tag for tag in platform_tags() if "manylinux" not in tag and "musllinux" not in tag)
