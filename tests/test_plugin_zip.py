"""What is handed out as the plugin, and what the plugin repository of QGIS asks of it."""

from __future__ import annotations

import ast
import importlib.util
import json
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "qgis_plugin" / "georeg_qgis"
if not FOLDER.is_dir():
    pytest.skip("the plugin is not part of this source", allow_module_level=True)
TEXT = {".py", ".txt", ".json", ".svg", ".qml", ".ts", ".md", ""}
NEEDED = {"__init__.py", "metadata.txt", "LICENSE", "icon.svg", "schema.json", "plugin.py"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip."""
    if subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("not a checkout of git")
    path: Path = runpy.run_path(str(ROOT / "qgis_plugin" / "build.py"))["build"](tmp_path_factory.mktemp("dist"))
    return path


def test_the_zip_is_one_folder_of_text(packed: Path) -> None:
    with zipfile.ZipFile(packed) as read:
        names = read.namelist()
        assert {name.split("/")[0] for name in names} == {"georeg_qgis"}
        assert {f"georeg_qgis/{name}" for name in NEEDED} <= set(names)
        assert not [name for name in names if "__pycache__" in name or Path(name).suffix not in TEXT]
        assert not [name for name in names if b"\0" in read.read(name)]


def test_who_packs_it_is_told_which_addresses_are_missing(packed: Path, tmp_path: Path) -> None:
    made = runpy.run_path(str(ROOT / "qgis_plugin" / "build.py"))
    metadata = (FOLDER / "metadata.txt").read_text(encoding="utf-8")
    missing = [line.split("=")[0] for line in metadata.splitlines() if "example.org" in line]
    assert made["placeholders"]() == missing
    if missing:
        done = subprocess.run(
            [sys.executable, str(ROOT / "qgis_plugin" / "build.py")],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert all(name in done.stderr for name in missing)


def test_the_zip_is_the_same_each_time(packed: Path, tmp_path: Path) -> None:
    again = runpy.run_path(str(ROOT / "qgis_plugin" / "build.py"))["build"](tmp_path)
    assert again.read_bytes() == packed.read_bytes()
    assert again.name == packed.name


def test_the_zip_has_all_modules_that_it_imports(packed: Path) -> None:
    """A file that was never added to git would be missing."""
    untracked = ["git", "ls-files", "--others", "--exclude-standard", str(FOLDER)]
    if new := subprocess.run(untracked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split():
        pytest.skip(f"not yet added to git: {', '.join(new)}")
    with zipfile.ZipFile(packed) as read:
        sources = {Path(name).stem: read.read(name) for name in read.namelist() if name.endswith(".py")}
    for stem, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                asked = {node.module} if node.module else {alias.name for alias in node.names}
                assert asked <= set(sources), (stem, asked)


@pytest.mark.skipif(importlib.util.find_spec("bandit") is None, reason="bandit is not installed")
def test_bandit_finds_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bandit", "-q", "-r", "-f", "json", str(FOLDER)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["results"] == []


@pytest.mark.skipif(importlib.util.find_spec("detect_secrets") is None, reason="detect-secrets is not installed")
def test_detect_secrets_finds_nothing() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "detect_secrets", "scan", "--all-files", FOLDER.name]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, timeout=120, check=False)
    assert json.loads(done.stdout)["results"] == {}, done.stderr
