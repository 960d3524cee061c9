"""A real desktop session: QGIS with the plugin under Xvfb and a window manager, played by ``driven.py``.

    python tests/qgis/desktop.py OUT [REFERENCE TARGET]

writes ``report.json`` and screenshots to the folder OUT, and those of ``docs/qgis.md``, made smaller, as ``qgis-*.png``. The
rasters are copied first, so that nothing is written beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from serving import served
from tiles import write_tiles

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "sample_tiles"
NEEDED = ("qgis", "Xvfb", "openbox")
LIMIT_S = 240
TOUR = {"aligned": 0, "swipe": 300, "refused": 1060, "where": 420, "many": 420, "hand": 420, "history": 420}
"""Screenshots for the documentation, and from which column on."""


def missing() -> list[str]:
    """Programs that are not installed."""
    return [name for name in NEEDED if shutil.which(name) is None]


def play(
    out: Path,
    reference: Path = SAMPLES / "shift_reference.tif",
    target: Path = SAMPLES / "shift_target.tif",
    session: str = "driven",
    more: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Play a session, which is told ``more``; what it found, with ``killed``: how the worker ended once QGIS was killed."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="georeg-desktop-") as made, _display() as display:
        home = Path(made)
        job = {"out": str(out.resolve()), "here": str(Path(__file__).parent), **(more or {})}
        (home / "data").mkdir()
        (home / "run").mkdir(mode=0o700)
        for key, path in (("reference", reference), ("target", target), ("other", SAMPLES / "polynomial_target.tif")):
            job[key] = str(shutil.copy(path, home / "data"))
        environment = {
            "PATH": os.defpath, "HOME": made, "XDG_RUNTIME_DIR": str(home / "run"), "LANG": "C.UTF-8", "DISPLAY": display,
            "QT_QPA_PLATFORM": "xcb", "GEOREG_DESKTOP": json.dumps(job), "GEOREG_PYTHON": sys.executable,
            "QGIS_PLUGINPATH": str(ROOT / "qgis_plugin"), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        with _started(["openbox"], environment), open(out / "qgis.log", "w") as log:
            command = ["qgis", "--nologo", "--noversioncheck", "--profiles-path", f"{made}/profile"]
            command += ["--code", str(Path(__file__).with_name(f"{session}.py"))]
            with _started(command, environment, log) as qgis:
                return _heard(out, qgis)


def play_inputs(out: Path) -> dict[str, Any]:
    """Play the session of ``driven_inputs.py``, for which the sample reference is served as the tiles of a web map."""
    with tempfile.TemporaryDirectory(prefix="georeg-tiles-") as made:
        write_tiles(SAMPLES / "shift_reference.tif", Path(made), range(12, 16))
        with served(Path(made)) as server:
            return play(out, session="driven_inputs", more={"tiles": server.url("{z}/{x}/{y}.png")})


def _heard(out: Path, qgis: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The report, once it is there; then QGIS is killed in the middle of a run."""
    until = time.monotonic() + LIMIT_S
    while not (out / "report.json").exists():
        if qgis.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"QGIS ended or hangs: {(out / 'qgis.log').read_text()[-3000:]}")
        time.sleep(0.05)
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    if "error" not in found:
        qgis.send_signal(signal.SIGKILL)
        qgis.wait()
        found["killed"] = _gone_s(found.get("workers", []))
        (out / "report.json").write_text(json.dumps(found, indent=1))
    return found


def _gone_s(pids: list[int], limit_s: float = 5.0) -> float | None:
    """Seconds until none of these processes is left; None: some still are. They are ended in either case."""
    began = time.monotonic()
    while time.monotonic() < began + limit_s:
        if not any(_lives(pid) for pid in pids):
            return round(time.monotonic() - began, 2)
        time.sleep(0.02)
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return None


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def _display() -> Iterator[str]:
    """A screen of its own."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1440x900x24", "-nolisten", "tcp"]
    with open(os.devnull, "w") as nowhere:
        xvfb = subprocess.Popen(command, pass_fds=[write], stdout=nowhere, stderr=nowhere)
    os.close(write)
    try:
        with os.fdopen(read) as told:
            yield f":{told.readline().strip()}"
    finally:
        xvfb.terminate()
        xvfb.wait()


@contextlib.contextmanager
def _started(
    command: list[str], environment: dict[str, str], log: Any = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def tour(out: Path) -> None:
    """Screenshots in few colours, for the documentation."""
    for name, left in TOUR.items():
        if not (out / f"{name}.png").exists():
            continue  # it is of another session
        with Image.open(out / f"{name}.png") as screen:
            part = screen.convert("RGB").crop((left, 120, screen.width, 800))
        small = part.resize((round(0.7 * part.width), round(0.7 * part.height)), Image.Resampling.LANCZOS)
        small.quantize(160, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            out / f"qgis-{name}.png", optimize=True
        )


if __name__ == "__main__":
    print(json.dumps(play(Path(sys.argv[1]), *map(Path, sys.argv[2:4])), indent=1))
    print(json.dumps(play_inputs(Path(sys.argv[1])), indent=1))
    print(json.dumps(play(Path(sys.argv[1]), session="driven_results"), indent=1))
    tour(Path(sys.argv[1]))
