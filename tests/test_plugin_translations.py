"""The plugin's texts: all of what is shown can be translated, and the catalogue for translators has it."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "qgis_plugin" / "georeg_qgis"
if not FOLDER.is_dir():
    pytest.skip("the plugin is not part of this source", allow_module_level=True)
FILES = sorted(FOLDER.glob("*.py"))
SHOWING = {
    "QLabel", "QPushButton", "QCheckBox", "QGroupBox", "QAction", "QListWidgetItem", "QgsCollapsibleGroupBox", "addButton",
    "setText", "setToolTip", "setWindowTitle", "setTitle", "setInformativeText", "setPlaceholderText", "setFormat",
}  # fmt: skip
"""What puts text on the screen."""
WRITTEN = ROOT / "qgis_plugin" / "translations.py"


def words(node: ast.AST) -> str:
    """What a literal says, without tags of HTML."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = "".join(p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str))
    return re.sub(r"<[^>]*>|&\w+;|QLabel \{.*\}", "", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_text_is_put_on_the_screen_untranslated(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            plain = [words(one) for one in node.args if name in SHOWING]
            assert not [text for text in plain if re.search(r"[A-Za-z]{3}", text)], (node.lineno, plain)


def test_what_is_to_be_translated_is_no_text_that_is_put_together_first() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("tr", "self.tr", "translated"):
                assert not isinstance(node.args[0], ast.JoinedStr | ast.BinOp), (path.name, node.lineno)


def test_the_catalogue_has_all_texts() -> None:
    made = runpy.run_path(str(WRITTEN))["catalogue"]()
    assert (FOLDER / "i18n" / "georeg.ts").read_text(encoding="utf-8") == made, "run: make texts"
    sources = [node.text or "" for node in ElementTree.fromstring(made.split("\n", 2)[2]).iter("source")]
    for text in ("Aligned, and proven on check points", "Swipe", "used by the fit", "Align a raster to a reference"):
        assert text in sources
    assert any(text.startswith("{n} check points were left out by you") for text in sources)


@pytest.mark.skipif(shutil.which("lrelease") is None, reason="lrelease of Qt's tools is not installed")
def test_a_translation_of_the_catalogue_can_be_released(tmp_path: Path) -> None:
    done = subprocess.run(
        ["lrelease", str(FOLDER / "i18n" / "georeg.ts"), "-qm", str(tmp_path / "georeg_xx.qm")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "untranslated" in done.stdout
