"""The cases of ``qgis/cases``, which pytest-qgis runs in QGIS's own Python: panel and algorithms from inside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

TESTS = Path(__file__).resolve().parent
CASES = TESTS / "qgis" / "cases"
ENVIRONMENT = TESTS.parent / ".venv-qgis"
"""QGIS's Python, with pytest-qgis beside what it has; made once."""
PYTHON = "/usr/bin/python3"
NEEDED = ("pytest>=8", "pytest-qgis>=4,<6")
pytestmark = pytest.mark.xdist_group("qgis")
if not (TESTS.parent / "qgis_plugin").is_dir():
    pytest.skip("the plugin is not part of this source", allow_module_level=True)


@pytest.fixture(scope="module")
def python() -> str:
    """A Python that has QGIS and pytest-qgis."""
    probe = subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("QGIS's Python is not installed")
    made = ENVIRONMENT / "bin" / "python"
    there = [str(made), "-c", "import pytest_qgis"]
    if not made.exists() or subprocess.run(there, capture_output=True, check=False).returncode:
        for command in (
            [PYTHON, "-m", "venv", "--system-site-packages", str(ENVIRONMENT)],
            [str(made), "-m", "pip", "install", "--quiet", *NEEDED],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                pytest.skip(f"pytest-qgis cannot be installed: {done.stderr.strip()[-300:]}")
    return str(made)


def test_the_cases_hold_inside_of_qgis(python: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    environment = {
        "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.defpath, "LANG": "C.UTF-8",
        "QT_QPA_PLATFORM": "offscreen", "GEOREG_PYTHON": sys.executable, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(CASES), "--confcutdir", str(CASES)]
    told = tmp_path / "told.xml"
    done = subprocess.run(
        [python, "-B", "-m", "pytest", *options, "-o", "python_files=cases_*.py", f"--junitxml={told}", str(CASES)],
        cwd=CASES, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    ran = {case.get("name") for case in ElementTree.parse(told).iter("testcase") if case.find("skipped") is None}
    assert len(ran) == sum(path.read_text().count("\ndef test_") for path in CASES.glob("cases_*.py"))
