"""The whole job beside the sum of what it cannot do without, and where its time goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jobs import HERE, Bench, Run, Scene, Spread, Table, align, failure, found_error_px, needed, presets, run, usual

STORES: dict[str, tuple[str, ...]] = {
    "DEFLATE-6": ("--co", "ZLEVEL=6"),
    "DEFLATE-1": ("--co", "ZLEVEL=1"),
    "ZSTD-1": ("--co", "COMPRESS=ZSTD", "--co", "ZSTD_LEVEL=1"),
}
GOALS = {"fast, DEFLATE-6": 1.3, "fast, DEFLATE-1": 1.45, "default, DEFLATE-6": 2.0, "default, DEFLATE-1": 2.0}
"""CPU of a job at most, in multiples of the sum of its floors."""
WALL_GOAL, PEAK_GOAL_MB = 0.75, 350
NEEDED = ("decode", "correlate", "warp")
"""Floors that every job has; how it is encoded is one more."""


def floors(bench: Bench) -> list[Table]:
    """The whole job by preset and encoding, in turns with its floors."""
    scene, n = bench.main_scene(), bench.size(2000, 100)
    kinds, notes = presets()
    stores = dict(list(STORES.items())[: bench.size(3, 2)])
    jobs = {
        f"{kind}, {store}": align(scene, scene.beside(f"{kind}-{store}.tif"), "--max-points", n, *stored, *options)
        for kind, options in kinds.items()
        for store, stored in stores.items()
    }
    # what the floor of encoding has to encode; it is not counted, and leaves both files in the system's memory
    result = scene.beside("result.tif")
    needed(align(scene, result, "--max-points", n))
    floor = floor_commands(scene, result, n)
    turns = {name: partial(run, job) for name, job in jobs.items()}
    runs = bench.in_turns("floors", turns | {what: partial(needed, command) for what, command in floor.items()})
    least = {what: [min(done.json().values()) for done in runs[what]] for what in floor}
    rows = [row(scene, name, runs[name], least) for name in jobs]
    heads = (
        "job", "CPU s", "floors CPU s", "CPU / floors", "goal", "wall s", "wall / CPU", "peak MB", "error px",
    )  # fmt: skip
    goals = f"goals: wall / CPU at most {WALL_GOAL} on 2 processors, peak at most {PEAK_GOAL_MB} MB"
    title = f"georeg align --resample, {scene.side_px}² uint16 of {scene.ground}, {n} points, median of {bench.rounds} rounds"
    return [Table(title, heads, rows, (*notes, goals)), floor_table(n, runs, least)]


def floor_commands(scene: Scene, result: object, n: int) -> dict[str, list[object]]:
    """By the name of each floor."""
    floor = [sys.executable, HERE / "floors.py"]
    commands: dict[str, list[object]] = {what: [*floor, what, *scene.pair] for what in NEEDED}
    commands["correlate"] += ["--windows", n]
    return commands | {f"encode {store}": [*floor, "encode", result, "--store", store] for store in STORES}


def row(scene: Scene, name: str, runs: list[Run], least: Mapping[str, list[float]]) -> list[Any]:
    if failure(runs):
        return [f"{name}: {failure(runs)}", *[None] * 8]
    store = name.partition(", ")[2]
    sums = [sum(parts) for parts in zip(*(least[what] for what in (*NEEDED, f"encode {store}")), strict=True)]
    cpu, wall, peak_mb = usual(runs)
    ratio = Spread.of([done.cpu_s / all_s for done, all_s in zip(runs, sums, strict=True)])
    shared = Spread.of([done.wall_s / done.cpu_s for done in runs])
    error_px = found_error_px(scene, runs)
    return [name, cpu, Spread.of(sums), ratio, GOALS.get(name), wall, shared, peak_mb, error_px]


def floor_table(n: int, runs: Mapping[str, list[Run]], least: Mapping[str, list[float]]) -> Table:
    """Each floor, and every means that was tried for it."""
    told = {
        "decode": "both files, every block once",
        "correlate": f"{n} windows of 256 px, float32",
        "warp": "the target moved by a part of a pixel, uint16 -> uint16",
    }
    rows: list[list[Any]] = []
    for what, seconds in least.items():
        tried = {name: Spread.of([done.json()[name] for done in runs[what]]) for name in runs[what][0].json()}
        means = "; ".join(f"{name} {spread}" for name, spread in tried.items()) if len(tried) > 1 else ""
        rows.append([f"{what}: {told.get(what, 'the result, predictor 2, tiles of 512')}", Spread.of(seconds), means])
    return Table("floors, CPU s on one thread: the least of what was tried in each round", ("", "CPU s", "tried"), rows)


def stages(bench: Bench) -> list[Table]:
    """One job in its parts, beside their floors."""
    scene, n = bench.main_scene(), bench.size(2000, 100)
    kinds, notes = presets()
    tables = []
    with bench.steps("stages", 4 + len(kinds)) as step:
        out = scene.beside("stages.tif")
        split = {}
        for kind, options in kinds.items():
            split[kind] = split_of(scene, out, "--max-points", n, *options)
            step()
        commands = floor_commands(scene, out, n)
        floor = {}
        for what in (*NEEDED, "encode DEFLATE-1"):
            floor[what] = min(needed(commands[what]).json().values())
            step()
    beside = {
        "read, decode": floor["decode"],
        "match: start": floor["correlate"],
        "warp": floor["warp"],
        "encode, write": floor["encode DEFLATE-1"],
    }
    for kind, (stages_s, missing) in split.items():
        total = sum(stages_s.values())
        rows = [[name, cpu_s, f"{100 * cpu_s / total:.0f} %", beside.get(name)] for name, cpu_s in stages_s.items()]
        rows.append(["all", total, "100 %", sum(beside.values())])
        told = ["the floor beside start, a phase correlation of each window, is of start and refine together"]
        told += [f"not found in this version, and so counted elsewhere: {', '.join(missing)}"] if missing else []
        title = (
            f"georeg align --resample, {kind}, {scene.side_px}², {n} points: CPU s of its stages, all threads, one run"
        )
        tables.append(Table(title, ("stage", "CPU s", "share", "floor CPU s"), rows, (*notes, *told)))
    return tables


def split_of(scene: Scene, out: Path, *options: object) -> tuple[dict[str, float], list[str]]:
    """CPU s of each stage of a job, and what `stages.py` did not find."""
    told = scene.beside("stages.json")
    command = align(scene, out, *options)[3:]  # without the interpreter and the module
    needed([sys.executable, HERE / "stages.py", told, *command])
    values = json.loads(told.read_text())
    return values["cpu_s"], values["missing"]
