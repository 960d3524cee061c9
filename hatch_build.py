"""Builds the C part of georeg into the wheel, or leaves it out with a warning where no compiler is at hand."""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import setuptools  # noqa: F401  (first: it lends distutils to Pythons that have none of their own)

# isort: split
from distutils.ccompiler import new_compiler
from distutils.errors import CCompilerError, DistutilsError
from distutils.sysconfig import customize_compiler

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARIES = {
    "georeg/matching/_fields.c": "georeg/matching/_fields.so",
    "georeg/matching/_peak.c": "georeg/matching/_peak.so",
    "georeg/matching/_refine.c": "georeg/matching/_refine.so",
    "georeg/_resample.c": "georeg/_resample.so",
}
"""By source. Under this name on every system: they are no modules, `ctypes` opens them as libraries."""
MSVC_FLAGS = ["/O2", "/std:c11"]
FLAGS = [
    "-O3",
    "-g0",
    "-std=c11",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fvisibility=hidden",
]


class CustomBuildHook(BuildHookInterface):
    """Compiles before a wheel is made; an editable one finds the library beside its source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="georeg-"))
        in_place = [Path(self.root, library) for library in LIBRARIES.values()]
        if version == "editable":
            for path in in_place:
                path.unlink(missing_ok=True)  # whoever has the old one open keeps it
        built = [self._folder / path.name for path in in_place]
        try:
            for source, path in zip(LIBRARIES, built, strict=True):
                compile_library(Path(self.root, source), path)
        except (CCompilerError, DistutilsError, OSError) as error:
            self.app.display_warning(f"No C compiler works here, so NumPy will do its work, slower: {error}")
            return
        for path, library, place in zip(built, LIBRARIES.values(), in_place, strict=True):
            if version == "editable":
                shutil.copy(path, place)
            else:
                build_data["force_include"][str(path)] = library
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def compile_library(source: Path, built: Path) -> None:
    """Compile one C file, with the compiler and flags that this Python's own extensions are built with, CC and CFLAGS."""
    compiler = new_compiler()
    customize_compiler(compiler)
    msvc = compiler.compiler_type == "msvc"
    flags = MSVC_FLAGS if msvc else FLAGS
    objects = compiler.compile([str(source)], output_dir=str(built.parent), extra_postargs=flags)
    compiler.link_shared_object(objects, str(built), libraries=None if msvc else ["m"])
