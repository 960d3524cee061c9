"""Which Python georeg runs in, and with which environment. Knows no QGIS; never QGIS's own Python environment."""

from __future__ import annotations

import ntpath
import os
import shlex
import shutil
import sys
from collections.abc import Mapping

from .protocol import SETUP_HINT, WorkerError

GEOREG = "0.1.0"
"""Version of georeg that this plugin installs."""
OLDEST_PYTHON = (3, 11)
OVERRIDE = "GEOREG_PYTHON"
"""Environment variable that names the interpreter, before any setting: for qgis_process and for tests."""
SCRUBBED = ("PYTHON", "PROJ_", "GDAL_", "LD_", "DYLD_", "QGIS_", "OGR_", "CPL_")
"""Beginnings of variables that QGIS sets for itself; with a PROJ_DATA of its own, rasters are read without their CRS."""
SCRUBBED_NAMES = frozenset({"VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "QT_PLUGIN_PATH", "GDALDATA", "PROJLIB"})


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what belongs to QGIS, to its libraries and to its Python.

    >>> scrubbed({"PATH": "/usr/bin", "PROJ_DATA": "/qgis/proj", "Ld_Preload": "x.so", "VIRTUAL_ENV": "/v"})
    {'PATH': '/usr/bin'}
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith(SCRUBBED) and name.upper() not in SCRUBBED_NAMES
    }


def command(interpreter: str) -> list[str]:
    """Words that start the worker; never for a shell. -P keeps the current folder from lending it modules."""
    return [interpreter, "-X", "utf8", "-P", "-m", "georeg.cli", "serve"]


def is_qgis(path: str) -> bool:
    """Whether a path names QGIS itself, which ``sys.executable`` is on Windows and macOS.

    >>> is_qgis(r"C:\\OSGeo4W\\bin\\qgis-bin.exe"), is_qgis("/usr/bin/python3")
    (True, False)
    """
    return ntpath.basename(path).lower().startswith("qgis")


def check_interpreter(path: str) -> str:
    """The path, if it can be a Python for georeg; whether georeg is in it only its worker tells.

    Raises
    ------
    WorkerError
        Nothing is there, or it is QGIS.
    """
    if not path:
        raise WorkerError("setup", "no Python with georeg has been chosen yet", SETUP_HINT)
    if is_qgis(path):
        raise WorkerError("setup", f"{path} is QGIS, not Python: it would open another QGIS", SETUP_HINT)
    if not os.path.isfile(path):
        raise WorkerError("setup", f"{path}, the Python chosen for georeg, does not exist", SETUP_HINT)
    if not os.access(path, os.X_OK):
        raise WorkerError("setup", f"{path}, chosen as the Python of georeg, is no program", SETUP_HINT)
    return path


def chosen_interpreter(setting: str, environ: Mapping[str, str] | None = None) -> str:
    """The Python of georeg: that of the environment variable, of the user's setting, or of the managed folder.

    Returns
    -------
    A path, which need not exist; empty where there is none.
    """
    named = (os.environ if environ is None else environ).get(OVERRIDE) or setting
    if named:
        return os.path.expanduser(named)
    managed = python_in(managed_folder(environ))
    return managed if os.path.isfile(managed) else ""


def managed_folder(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> str:
    """Where the plugin makes an environment for georeg: in the user's data, outside QGIS and its profiles."""
    environ = os.environ if environ is None else environ
    home = environ.get("USERPROFILE" if platform == "win32" else "HOME") or os.path.expanduser("~")
    if platform == "win32":
        root = environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif platform == "darwin":
        root = os.path.join(home, "Library", "Application Support")
    else:
        root = environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    return os.path.join(root, "georeg-qgis", f"python-{GEOREG}")


def python_in(folder: str, platform: str = sys.platform) -> str:
    """The interpreter of a virtual environment."""
    return (
        os.path.join(folder, "Scripts", "python.exe") if platform == "win32" else os.path.join(folder, "bin", "python")
    )


def base_pythons(platform: str = sys.platform) -> list[str]:
    """Pythons from which an environment may be made, the newest first; how new they are is seen when they are run."""
    names = [f"python3.{minor}" for minor in range(14, OLDEST_PYTHON[1] - 1, -1)] + ["python3", "python"]
    found = [shutil.which(name) for name in names]
    if platform == "win32":  # QGIS brings a python.exe beside its libraries; sys.executable is QGIS
        found.append(os.path.join(sys.base_prefix, "python.exe"))
    elif platform == "darwin":
        folders = ("/opt/homebrew/bin", "/usr/local/bin", "/Library/Frameworks/Python.framework/Versions/Current/bin")
        found += [os.path.join(folder, name) for folder in folders for name in names[:-1]]
        found.append(os.path.join(sys.base_prefix, "bin", "python3"))
    unique = dict.fromkeys(path for path in found if path and os.path.isfile(path) and not is_qgis(path))
    return list(unique)


def version_command(python: str) -> list[str]:
    """Words that print a Python's version, as ``3.11``."""
    return [python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]


def is_new_enough(version: str) -> bool:
    """Whether what `version_command` printed is a Python that georeg runs in.

    >>> is_new_enough("3.11"), is_new_enough("3.9"), is_new_enough("nonsense")
    (True, False, False)
    """
    parts = version.strip().split(".")
    return all(part.isdigit() for part in parts) and tuple(map(int, parts)) >= OLDEST_PYTHON


def install_commands(python: str, folder: str, requirement: str = f"georeg=={GEOREG}") -> list[list[str]]:
    """What makes an environment with georeg in it, step by step; nothing outside the folder is changed."""
    return [
        [python, "-I", "-m", "venv", "--clear", folder],
        [python_in(folder), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", requirement],
    ]


def install_text(requirement: str = f"georeg=={GEOREG}", platform: str = sys.platform) -> str:
    """The same for a user to copy into a terminal."""
    if platform == "win32":
        folder = r"%LOCALAPPDATA%\georeg-python"
        return f'py -3 -m venv "{folder}"\n"{folder}\\Scripts\\python" -m pip install {requirement}'
    folder = os.path.join(os.path.expanduser("~"), "georeg-python")
    steps = (["python3", "-m", "venv", folder], [f"{folder}/bin/python", "-m", "pip", "install", requirement])
    return "\n".join(" ".join(map(shlex.quote, step)) for step in steps)


def install_failure(output: str) -> str:
    """What went wrong when pip or venv failed, in a sentence for the user."""
    said = output.lower()
    offline = ("connection", "resolve", "network", "timed out", "proxy", "temporary failure", "ssl")
    if any(f"{word} " in said or f"{word}:" in said for word in offline) and "pip" in said + "pip":
        return (
            "The package index cannot be reached. Connect to the network or set pip's proxy and try again, or install georeg "
            "elsewhere and choose its Python above; nothing was changed"
        )
    if "ensurepip" in said:
        return "This Python cannot make environments: install its venv package (python3-venv on Debian and Ubuntu)"
    if "no matching distribution" in said:
        return (
            f"The package index has no georeg {GEOREG} for this Python; choose one of 3.{OLDEST_PYTHON[1]} or newer, or install "
            "from a file"
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return f"Installing failed: {lines[-1] if lines else 'it said nothing'}"
