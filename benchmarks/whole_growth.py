"""How cost grows: with threads, scenes of a batch, pixels, points and bands, and from how little it starts."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jobs import (
    Bench,
    Run,
    Scene,
    Spread,
    Table,
    align,
    failure,
    found_error_px,
    georeg,
    knows,
    n_processors,
    needed,
    run,
    usual,
)


def threads(bench: Bench) -> list[Table]:
    """One processor against two: matching alone, warping and encoding alone, and the whole job."""
    if n_processors() < 2:
        return [Table("threads: left out, there are no two processors to hold runs to", (), [])]
    scene = bench.main_scene()
    points, result, out = (scene.beside(name) for name in ("points.json", "result.json", "threads.tif"))
    result.write_text(needed(georeg("assess", *scene.pair, "--json", "--quiet")).says)
    jobs = {
        "match": georeg("match", *scene.pair, "-o", points, "--overwrite", "--quiet"),
        "apply --resample": georeg("apply", result, "-o", out, "--resample", "--overwrite", "--quiet"),
        "align --resample": align(scene, out),
    }
    turns = {f"{name} {cpus}": partial(run, jobs[name], cpus=cpus) for name in jobs for cpus in (1, 2)}
    runs = bench.in_turns("threads", turns)
    rows: list[list[Any]] = []
    for name in jobs:
        one, two = runs[f"{name} 1"], runs[f"{name} 2"]
        if failure([*one, *two]):
            rows.append([f"{name}: {failure([*one, *two])}", *[None] * 5])
            continue
        wall, cpu = (
            Spread.of([getattr(a, what) / getattr(b, what) for a, b in zip(two, one, strict=True)])
            for what in ("wall_s", "cpu_s")
        )
        rows.append([name, usual(one)[1], usual(two)[1], wall, cpu, max(done.peak_mb for done in two)])
    heads = ("command", "wall s on 1", "wall s on 2", "wall on 2 / on 1", "CPU on 2 / on 1", "peak MB on 2")
    return [Table(f"one processor against two, {scene.side_px}², median of {bench.rounds} rounds", heads, rows)]


def batch(bench: Bench) -> list[Table]:
    """One reference and many targets: the first against each further one, beside one `georeg align` for each."""
    side_px, n = bench.size(2745, 500), bench.n_scenes
    scene = bench.scene(side_px, targets=n, exact=True)
    options = ("--resample", "--overwrite", "--quiet")
    singles = []
    with bench.steps("batch: one by one", n) as step:
        for k, target in enumerate(scene.targets):
            out = scene.beside(f"aligned_{k:03}.tif")
            singles.append(run(georeg("align", scene.reference, target, "-o", out, "--json", *options)))
            step()
    rows, notes = [one_by_one(scene, singles[0], singles[1:])], []
    if knows("batch"):
        folder = scene.beside("batch")
        folder.mkdir(exist_ok=True)
        of_one, of_all = (
            run(georeg("batch", scene.reference, *scene.targets[:k], "-o", folder, *options)) for k in (1, n)
        )
        rows.append(at_once(scene, of_one, of_all))
    else:
        notes.append("georeg has no verb batch here: it is left out")
    heads = ("", "first: wall s", "further: wall s", "further / first", "further: CPU s", "peak MB", "error px")
    return [Table(f"{n} scenes of {side_px}² onto one reference, resampled", heads, rows, tuple(notes))]


def one_by_one(scene: Scene, first: Run, further: list[Run]) -> list[Any]:
    name = "georeg align, one by one"
    if failure([first, *further]):
        return [f"{name}: {failure([first, *further])}", *[None] * 6]
    cpu, wall, peak_mb = usual(further or [first])
    error_px = found_error_px(scene, [first, *further])
    return [name, first.wall_s, wall, wall.median / first.wall_s, cpu, max(peak_mb, first.peak_mb), error_px]


def at_once(scene: Scene, of_one: Run, of_all: Run) -> list[Any]:
    """What a batch of all takes more than one of the first, shared out among the others; the last output is matched again."""
    if failure([of_one, of_all]):
        return [f"georeg batch: {failure([of_one, of_all])}", *[None] * 6]
    more = max(len(scene.targets) - 1, 1)
    wall_s, cpu_s = (of_all.wall_s - of_one.wall_s) / more, (of_all.cpu_s - of_one.cpu_s) / more
    last = max(scene.beside("batch").rglob("*.tif"))
    left = needed(georeg("assess", scene.reference, last, "--json", "--quiet")).json()["displacement"]
    error_px = math.hypot(*left) / scene.gsd
    return ["georeg batch", of_one.wall_s, wall_s, wall_s / of_one.wall_s, cpu_s, of_all.peak_mb, error_px]


def growth(bench: Bench) -> list[Table]:
    """Cost against pixels, points, bands and processors; the truth of these scenes is exact."""
    middle_px = bench.size(5490, 600)
    sides = bench.size((1000, 2000, 5000, 10000, 20000), (600, 1200))
    points = bench.size((500, 1000, 2000, 4000, 8000), (50, 100))
    bands = bench.size((1, 2, 3, 4), (1, 2))
    cpus = [n for n in (1, 2, 4, 8, 16) if n <= n_processors()]
    return [
        grown(bench, "pixels a side", 2, {side: pixels_job(bench, side) for side in sides}),
        grown(bench, "points", 1, {n: points_job(bench, middle_px, n) for n in points}),
        grown(bench, "bands", 1, {n: bands_job(bench, bench.size(2745, 600), n) for n in bands}),
        grown(bench, "processors", 1, {n: processors_job(bench, middle_px, n) for n in cpus}),
    ]


Job = tuple[Scene, Callable[[], Run]]


def pixels_job(bench: Bench, side_px: int) -> Job:
    scene = bench.scene(side_px, exact=True)
    return scene, partial(run, align(scene, scene.beside("grown.tif")))


def points_job(bench: Bench, side_px: int, n: int) -> Job:
    scene = bench.scene(side_px, exact=True)
    return scene, partial(run, georeg("assess", *scene.pair, "--json", "--quiet", "--max-points", n))


def bands_job(bench: Bench, side_px: int, n: int) -> Job:
    scene, numbers = bench.scene(side_px, bands=n, exact=True), ",".join(str(k + 1) for k in range(n))
    return scene, partial(run, align(scene, scene.beside("grown.tif"), "--ref-bands", numbers, "--tgt-bands", numbers))


def processors_job(bench: Bench, side_px: int, n: int) -> Job:
    scene = bench.scene(side_px, exact=True)
    return scene, partial(run, align(scene, scene.beside("grown.tif")), cpus=n if n_processors() > 1 else None)


def grown(bench: Bench, what: str, power: int, jobs: Mapping[int, Job]) -> Table:
    """A row for each size, to whose ``power`` the work is in proportion, and how steeply CPU rises from the one before."""
    runs = bench.in_turns(f"growth: {what}", {str(size): job for size, (_, job) in jobs.items()}, rounds=1)
    rows: list[list[Any]] = []
    before: tuple[int, float] | None = None
    for size, (scene, _) in jobs.items():
        done = runs[str(size)][0]
        if done.complaint:
            rows.append([f"{size}: {done.complaint}", *[None] * 5])
            continue
        steep = None if before is None else math.log(done.cpu_s / before[1]) / (power * math.log(size / before[0]))
        error_px = found_error_px(scene, [done])
        rows.append([str(size), done.cpu_s, done.wall_s, done.peak_mb, steep, error_px])
        before = size, done.cpu_s
    heads = (what, "CPU s", "wall s", "peak MB", "p", "error px")
    note = "p: CPU rose as the number of pixels ** p" if power == 2 else f"p: CPU rose as the number of {what} ** p"
    return Table(f"growth with {what}", heads, rows, (note,))


def startup(bench: Bench) -> list[Table]:
    """What every run pays before it does anything, and the least whole job."""
    scene, rounds = bench.scene(1000, exact=True), bench.size(7, 2)
    commands = {
        "python, nothing else": [sys.executable, "-c", "pass"],
        "import georeg": [sys.executable, "-c", "import georeg"],
        "georeg --help": georeg("--help"),
        "georeg align, 1000²": georeg(
            "align", *scene.pair, "-o", scene.beside("startup.tif"), "--overwrite", "--quiet", "--json"
        ),
    }
    runs = bench.in_turns("startup", {name: partial(needed, command) for name, command in commands.items()}, rounds)
    rows = []
    for name, done in runs.items():
        cpu_s = [each.cpu_s for each in done]
        error_px = found_error_px(scene, done) if "align" in name else None
        wall_s = statistics.median(each.wall_s for each in done)
        rows.append([name, min(cpu_s), statistics.median(cpu_s), wall_s, max(each.peak_mb for each in done), error_px])
    heads = ("command", "CPU s, least", "CPU s, median", "wall s, median", "peak MB", "error px")
    note = "no peak can be less than what whole.py itself holds, that of python"
    return [Table(f"starting, {rounds} runs of each", heads, rows, (note,))]
