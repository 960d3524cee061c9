"""Tie points of whole scenes by georeg and by others, each a script of `peers_whole/` with an interpreter of its own."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from jobs import HERE, Bench, Command, Run, Scene, Spread, Table, failure, georeg, needed, presets, run, usual

SCRIPTS = {
    "AROSICS": "arosics_local.py",
    "KARIOS": "karios_klt.py",
    "scikit-image": "skimage_phase.py",
    "OpenCV": "opencv_phase.py",
}
ELSEWHERE = {"AROSICS": "--arosics-python", "KARIOS": "--karios-python"}
"""Peers that want an environment of their own, and the option that names its interpreter."""
HEADS = (
    "", "tie points", "CPU s", "CPU ms a tie point", "times georeg", "wall s", "peak MB", "tie points median px", "RMS px",
    "model RMS px",
)  # fmt: skip


def peers(bench: Bench) -> list[Table]:
    """As many points of the same two scenes, without writing: of two dates, and of one, whose truth is exact."""
    side_px, n = bench.side_px or bench.size(10980, 1600), bench.n_points or bench.size(400, 100)
    kinds, notes = presets()
    tables = []
    for exact in bench.size((False, True), (True,)):
        scene = bench.scene(side_px, exact=exact)
        commands: dict[str, Command] = {
            f"georeg, {kind}": georeg("assess", *scene.pair, "--json", "--quiet", "--max-points", n, *options)
            for kind, options in kinds.items()
        }
        commands |= {name: command for name in SCRIPTS if (command := script(bench, name, scene, n))}
        jobs: dict[str, Callable[[], Run]] = {name: partial(run, command) for name, command in commands.items()}
        runs = bench.in_turns(f"peers, {scene.ground}", jobs)
        rows = [row(name, scene, runs[name], runs["georeg, default"]) for name in commands]
        rows += [[f"{name}: not installed", *[None] * 9] for name in SCRIPTS if name not in commands]
        title = f"about {n} tie points of {scene.side_px}² uint16 of {scene.ground}, median of {bench.rounds} rounds"
        tables.append(Table(title, HEADS, rows, (*notes, *told(exact))))
    return tables


def told(exact: bool) -> tuple[str, ...]:
    """What the numbers of a table are good for."""
    of_runs = "CPU of all processes of a run, starting and reading included; peak of the largest process of it"
    truth = (
        "the truth is exact" if exact else "the ground itself differs by about 0.1 px between the dates, a bound on RMS"
    )
    return (
        of_runs,
        f"median, RMS: against the truth, radial, of the tie points kept, and of the model at corners and middle; {truth}",
    )


def script(bench: Bench, name: str, scene: Scene, n: int) -> Command | None:
    """None where the peer is not installed."""
    python = bench.interpreters.get(name)
    if python is None and name in ELSEWHERE:
        return None
    if (
        python is None
        and run([sys.executable, "-c", f"import {'skimage' if name == 'scikit-image' else 'cv2'}"]).complaint
    ):
        return None
    return [python or sys.executable, HERE / "peers_whole" / SCRIPTS[name], *scene.pair, n]


def row(name: str, scene: Scene, runs: list[Run], ours: list[Run]) -> list[Any]:
    if failure(runs) or failure(ours):
        return [f"{name}: {failure(runs) or failure(ours)}", *[None] * 9]
    found, least = answer(name, scene, runs[0]), answer("georeg", scene, ours[0])
    cpu, wall, peak_mb = usual(runs)
    each_ms = [1e3 * done.cpu_s / len(found["tie"]) for done in runs]
    ours_ms = [1e3 * done.cpu_s / len(least["tie"]) for done in ours]
    times = Spread.of([a / b for a, b in zip(each_ms, ours_ms, strict=True)])
    tie_px, model_px = ([scene.error_px(at) for at in found[what]] for what in ("tie", "model"))
    errors = (statistics.median(tie_px), rms(tie_px), rms(model_px))
    return [name, str(len(found["tie"])), cpu, Spread.of(each_ms), times, wall, peak_mb, *errors]


def answer(name: str, scene: Scene, done: Run) -> dict[str, list[list[float]]]:
    """Displacements reference - target of the tie points and of the model, map units."""
    if name.startswith("georeg"):
        result = scene.beside("peers.json")
        result.write_text(done.says)
        done = needed([sys.executable, HERE / "peers_whole" / "georeg_result.py", result])
    values: dict[str, list[list[float]]] = json.loads(done.says)
    return values


def rms(values: list[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values))
