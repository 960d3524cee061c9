"""Packs the plugin for QGIS: the files of its folder that git tracks, the same bytes each time. Prints the zip's name."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "georeg_qgis"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644


def tracked() -> list[Path]:
    """Files of the plugin, relative to the folder that holds it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", FOLDER.name], cwd=FOLDER.parent, capture_output=True, text=True, check=True
    ).stdout
    return sorted(Path(name) for name in listed.split("\0") if name)


def version() -> str:
    """Of the plugin."""
    read = configparser.ConfigParser()
    read.read(FOLDER / "metadata.txt", encoding="utf-8")
    return read["general"]["version"]


def build(folder: Path) -> Path:
    """Write ``georeg_qgis-VERSION.zip`` into a folder; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{FOLDER.name}-{version()}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in tracked():
            entry = zipfile.ZipInfo(name.as_posix(), _LONG_AGO)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _MODE << 16, 3
            packed.writestr(entry, (FOLDER.parent / name).read_bytes())
    return path


def placeholders() -> list[str]:
    """Fields of metadata.txt that name an address reserved for examples: the plugin repository refuses a plugin with them."""
    read = configparser.ConfigParser()
    read.read(FOLDER / "metadata.txt", encoding="utf-8")
    return [name for name, value in read["general"].items() if "example.org" in value]


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))
    if reserved := placeholders():
        told = f"to be filled in before it is published: {', '.join(reserved)} in {FOLDER.name}/metadata.txt"
        print(told, file=sys.stderr)
