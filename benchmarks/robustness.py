"""How often georeg finds the place, and that it is never silently wrong: `python benchmarks/robustness.py --help`.

Every trial is a pair of files, made from its number alone, and one call of `georeg.align`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import note, quiet, run_all, show
from numpy.typing import NDArray
from optics import data_folder
from robustness_ground import CRS, Picture, Trial, grounds, opened
from robustness_pairs import displaced, identical, unrelated
from robustness_stored import cfog, cfog_count, micasense, micasense_count, srif, srif_count
from robustness_traps import trap

import georeg
from georeg import GeoregError, InputOptions

Record = dict[str, Any]
"""One trial's result, as it is written to a line of JSON."""
OUTCOMES = ("solved", "poor", "refused", "wrong", "crash")
_INITIAL = {"initial": "auto"} if "initial" in {field.name for field in fields(InputOptions)} else {}


@dataclass(frozen=True)
class Section:
    """Trials of one kind, and how they are told."""

    make: Callable[[int], Trial]
    title: str
    count: Callable[[bool], int]
    """Of trials: all of them, or with ``--quick``."""
    by: tuple[str, ...]
    """Labels, each of which gives a table."""
    stored: bool = False
    """A trial's number is that of a stored pair, rather than a seed."""
    listed: bool = False
    """Each trial has a line."""
    borderline_px: tuple[float, float] = (math.inf, math.inf)
    """Accepted answers whose error lies between are listed: the truth is hardly better."""


SECTIONS = {
    "displaced": Section(
        displaced,
        "real ground, displaced, turned, scaled",
        lambda quick: 60 if quick else 3000,
        ("stratum", "what differs", "placement", "ground"),
    ),
    "srif": Section(
        srif,
        "srif-subset as plain images, by the median of the corners' errors",
        lambda _: srif_count(),
        ("modality",),
        stored=True,
        borderline_px=(3.0, 8.0),
    ),
    "cfog": Section(
        cfog, "cfog-multimodal, by the authors' check points", lambda _: cfog_count(), (), stored=True, listed=True
    ),
    "micasense": Section(
        micasense, "camera bands, by the worst corner", lambda _: micasense_count(), (), stored=True, listed=True
    ),
    "unrelated": Section(
        unrelated, "different places", lambda quick: 40 if quick else 1000, ("what", "placement")
    ),
    "null": Section(
        identical,
        "nothing to correct; solved: moved by less than 0.03 px, or said to be aligned already",
        lambda quick: 24 if quick else 200,
        ("ground",),
    ),
    "traps": Section(
        trap,
        "invitations to be wrong; *: no answer can be right but by chance",
        lambda quick: 34 if quick else 510,
        ("trap",),
    ),
}  # fmt: skip


# ---- one trial


def run_trial(number: int, section: str, keep: Path | None = None) -> Record:
    """Make the pair, align it and judge the answer."""
    trial = SECTIONS[section].make(number)
    record: Record = {"section": section, "trial": number, "labels": trial.labels, "about": trial.about}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if keep is None else keep
        paths = [_file(side, folder / f"{section}{number}_{name}") for name, side in _sides(trial)]
        options: dict[str, Any] = {"inputs": InputOptions(**_INITIAL), "matching": replace(trial.matching, threads=1)}
        start, answer = time.process_time(), None
        try:
            answer = georeg.align(*paths, **options)
        except GeoregError as exc:
            record |= {"outcome": "refused", "error": type(exc).__name__, "message": str(exc)}
        except Exception as exc:  # noqa: BLE001 - whatever is not ours is a crash, and is counted
            record |= _crash(exc)
        record["cpu_s"] = time.process_time() - start
        if answer is not None:
            try:
                record |= _judge(trial, answer)
            except Exception as exc:  # noqa: BLE001 - so is an answer that cannot say where it puts a pixel
                record |= _crash(exc)
    if SECTIONS[section].listed:
        record["before_px"] = _rms(trial.ref_px - trial.tgt_px)
        record["n_truth"] = len(trial.ref_px)
    return record


def _crash(exc: Exception) -> Record:
    words = {"outcome": "crash", "error": type(exc).__name__, "message": str(exc)}
    return {**words, "traceback": "".join(traceback.format_exception(exc))}


def _sides(trial: Trial) -> Iterable[tuple[str, Picture | Path]]:
    return (("ref", trial.ref), ("tgt", trial.tgt))


def _file(side: Picture | Path, stem: Path) -> Path:
    """Where an image is; a made one is written: GeoTIFF, or PNG where it is of bytes and without georeferencing."""
    if isinstance(side, Path):
        return side
    png = side.transform is None and side.values.dtype == np.uint8
    path = stem.with_suffix(".png" if png else ".tif")
    height, width = side.values.shape
    profile = {"driver": "PNG" if png else "GTiff", "height": height, "width": width, "count": 1}
    if side.transform is not None:
        profile |= {"crs": CRS, "transform": side.transform}
    with opened(path, "w", dtype=side.values.dtype, nodata=side.nodata, **profile) as raster:
        raster.write(side.values, 1)
    return path


def _judge(trial: Trial, alignment: georeg.Alignment) -> Record:
    """Outcome and errors of an accepted answer."""
    verdict = getattr(alignment, "verdict", "aligned")
    about = {"verdict": verdict, "n_points": int(alignment.points.kept.sum()), "model": alignment.model.kind}
    if not len(trial.tgt_px):
        return {"outcome": "wrong", **about}
    error_px = np.hypot(*(alignment.reference_px(trial.tgt_px) - trial.ref_px).T) * trial.per_px
    about |= {
        "rms_px": _rms(error_px[:, None]),
        "median_px": float(np.median(error_px)),
        "p95_px": float(np.percentile(error_px, 95)),
        "max_px": float(error_px.max()),
    }
    error = about["error_px"] = about[trial.measure]
    if not error <= trial.wrong_px:  # also where it is no number
        return {"outcome": "wrong", **about}
    return {"outcome": "solved" if error <= trial.solved_px else "poor", **about}


def _rms(vectors: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=1))))


# ---- tables


def tell(name: str, records: Sequence[Record]) -> None:
    """The tables of a section."""
    section = SECTIONS[name]
    head = ["n", *OUTCOMES, "wrong <, %", "RMS px: median", "95 %", "CPU s: mean", "95 %"]
    for label in section.by or ("",):
        groups: dict[str, list[Record]] = {}
        for record in records:
            groups.setdefault(record["labels"].get(label, "all"), []).append(record)
        body = [[key, *_row(found)] for key, found in groups.items()]
        if len(groups) > 1:
            body.append(["all", *_row(records)])
        show(f"{name}: {section.title}", [label, *head], body)
    if section.listed:
        _list_all(name, records)
    _list_refusals(records)
    for outcome in ("wrong", "crash"):
        _list_some(f"{outcome}:", [r for r in records if r["outcome"] == outcome])
    low, high = section.borderline_px
    between = [r for r in records if low <= r.get("error_px", -1.0) <= high]
    _list_some(f"between {low:g} and {high:g} px:", between)


def _row(records: Sequence[Record]) -> list[str]:
    n, tally = len(records), Counter(record["outcome"] for record in records)
    rms_px = [record["rms_px"] for record in records if "rms_px" in record]
    cpu_s = [record["cpu_s"] for record in records]
    parts = [_two(rms_px, np.median), _two(rms_px, _p95), _two(cpu_s, np.mean), _two(cpu_s, _p95)]
    return [f"{n}", *(f"{tally[o]}" for o in OUTCOMES), f"{100 * wilson_upper(tally['wrong'], n):.2f}", *parts]


def _p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


def _two(values: Sequence[float], of: Callable[..., Any]) -> str:
    return f"{of(values):.3g}" if values else "-"


def wilson_upper(k: int, n: int, z: float = 1.96) -> float:
    """Upper end of the 95 % interval of a rate of which ``k`` of ``n`` were seen (Wilson 1927).

    >>> round(wilson_upper(0, 1000), 5)
    0.00383
    """
    if n == 0:
        return 1.0
    rate = k / n
    middle, half = rate + z**2 / (2 * n), z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return (middle + half) / (1 + z**2 / n)


def _list_all(name: str, records: Sequence[Record]) -> None:
    keys = ("before_px", "rms_px", "median_px", "p95_px", "max_px", "n_points")
    body = []
    for record in records:
        values = [f"{record[key]:.4g}" if key in record else "-" for key in keys]
        answer = record.get("error") or f"{record['model']}, {record['verdict']}"
        body.append([record["labels"]["pair"], record["outcome"], f"{record['n_truth']}", *values, answer])
    head = ["pair", "outcome", "n truth", "RMS px: before", "after", "median", "95 %", "max", "tie points", "answer"]
    show(f"{name}, pair by pair", head, body)


def _list_refusals(records: Sequence[Record]) -> None:
    """How often each was given: the class and the first words that hold no number and no file."""
    refusals = Counter(
        f"{r['error']}: {_first_words(r['message'])}" for r in records if r["outcome"] in ("refused", "crash")
    )
    if refusals:
        note("\n".join(["refusals:", *(f"{n:6d}  {text}" for text, n in refusals.most_common(12))]))


def _first_words(message: str, most: int = 7) -> str:
    words = [w for w in message.split() if not any(c.isdigit() or c in "/\\" for c in w) and "." not in w.strip(".,;")]
    return " ".join(words[:most])


def _list_some(title: str, records: Sequence[Record], most: int = 60) -> None:
    lines = []
    for record in records[:most]:
        error = f"{record['error_px']:9.2f} px" if "error_px" in record else f"{record.get('error', ''):>12}"
        lines.append(f"  {record['section']} {record['trial']:5d} {error}  {', '.join(record['labels'].values())}")
    if len(records) > most:
        lines.append(f"  and {len(records) - most} more")
    if lines:
        note("\n".join([title, *lines]))


# ---- the run


def numbers(section: Section, *, quick: bool, start: int, trials: int | None) -> list[int]:
    """Of the trials to run; of stored pairs, evenly thinned out where they are to be fewer."""
    count = section.count(quick)
    if not section.stored:
        return list(range(start, start + (count if trials is None else trials)))
    few = trials if trials is not None else min(count, 30) if quick else count
    picked = np.unique(np.linspace(start, count - 1, min(few, count - start)).astype(int)) if count > start else []
    return [int(k) for k in picked]


def run_section(name: str, args: argparse.Namespace) -> list[Record]:
    """Run it; each result goes to ``--out`` as it comes."""
    todo = numbers(SECTIONS[name], quick=args.quick, start=args.start, trials=args.trials)
    records = []
    for record in run_all(partial(run_trial, section=name), todo, args.jobs, name):
        records.append(record)
        if args.out:
            with args.out.open("a") as stream:
                stream.write(json.dumps(record) + "\n")
    return records


def show_trial(number: int, args: argparse.Namespace) -> None:
    """Everything about one trial, in this process."""
    quiet()
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    for name in args.section:
        record = run_trial(number, name, args.keep)
        failed = record.pop("traceback", "")
        note(json.dumps(record, indent=1) + ("\n" + failed if failed else ""))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--section", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="default: all")
    parser.add_argument("--quick", action="store_true", help="a few trials of each section")
    parser.add_argument("--trials", type=int, help="of each section; of stored pairs, evenly thinned out")
    parser.add_argument("--start", type=int, default=0, help="number of the first trial")
    parser.add_argument("--trial", type=int, help="run this one alone, and print everything about it")
    parser.add_argument("--keep", type=Path, help="with --trial: folder in which its files are left")
    parser.add_argument("--out", type=Path, help="file to which each result is appended, a line of JSON")
    parser.add_argument("--read", type=Path, nargs="+", help="print the tables of such files, and run nothing")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; only times depend on it")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if args.read:
        lines = [line for path in args.read for line in path.read_text().splitlines()]
        stored = {(r["section"], r["trial"]): r for r in map(json.loads, lines)}  # the last of each trial
        for name in args.section:
            records = [stored[key] for key in sorted(stored) if key[0] == name]
            if records:
                tell(name, records)
        return
    if not grounds():
        note(f"robustness: no imagery in {data_folder()}; set GEOREG_DATA")
        return
    if args.trial is not None:
        show_trial(args.trial, args)
        return
    for name in args.section:
        start = time.perf_counter()
        records = run_section(name, args)
        if records:
            tell(name, records)
        note(f"({name}: {len(records)} trials, {time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
