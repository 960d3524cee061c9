"""The command line: one sentence for each refusal, one JSON document for each result, the same bytes for the same input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
import scenes
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

import georeg
from georeg.cli import main

Capture = pytest.CaptureFixture[str]
Pair = tuple[str, str]


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "georeg.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def strict_json(text: str) -> Any:
    """Parsed as the standard says, without NaN and Infinity."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def variant(
    source: str, path: Path, change: Callable[[NDArray[Any]], NDArray[Any]] = lambda a: a, **profile: Any
) -> str:
    """A copy of a raster with other pixels or another profile."""
    with rasterio.open(source) as dataset:
        profile = dataset.profile | profile
        data = change(dataset.read())
    profile |= {"count": data.shape[0], "dtype": data.dtype}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(data)
    return str(path)


def text_file(path: Path) -> str:
    path.write_text("not a raster at all\n")
    return str(path)


def truncated(source: str, path: Path) -> str:
    content = Path(variant(source, path)).read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    return str(path)


def with_alpha(source: str, path: Path) -> str:
    variant(source, path, lambda a: np.concatenate([a, np.full_like(a, 65535)]), ALPHA="YES")
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[1] == ColorInterp.alpha
    return str(path)


def existing(path: Path) -> str:
    path.write_bytes(b"precious")
    return str(path)


# --- refusals -------------------------------------------------------------------------------------------------------

FAR = Affine(10, 0, 700000, 0, -10, 5000000)
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
REFUSED: dict[str, tuple[Callable[[str, str, Path], list[str]], str]] = {
    "no overlap": (lambda r, t, d: [r, variant(t, d / "t.tif", transform=FAR)], "share no ground"),
    "no CRS of the reference": (lambda r, t, d: [variant(r, d / "r.tif", crs=None), t], "no CRS"),
    "local CRS": (lambda r, t, d: [r, variant(t, d / "t.tif", crs=LOCAL)], "local CRS 'site grid'"),
    "local CRS of the reference": (lambda r, t, d: [variant(r, d / "r.tif", crs=LOCAL), t], "local CRS"),
    "not a raster": (lambda r, t, d: [r, text_file(d / "t.tif")], "cannot be opened as a raster"),
    "absent": (lambda r, t, d: [r, str(d / "absent.tif")], "does not exist"),
    "nameless": (lambda r, t, d: ["", t], "does not exist"),
    "a folder": (lambda r, t, d: [str(d), t], "cannot be opened"),
    "not UTF-8": (lambda r, t, d: [r, os.fsdecode(b"\xff.tif")], "not UTF-8"),
    "truncated target": (lambda r, t, d: [r, truncated(t, d / "t.tif")], "truncated"),
    "truncated reference": (lambda r, t, d: [truncated(r, d / "r.tif"), t], "truncated"),
    "all nodata": (lambda r, t, d: [r, variant(t, d / "t.tif", np.zeros_like, nodata=0)], ""),
    "all given nodata": (lambda r, t, d: [r, variant(t, d / "t.tif", np.zeros_like), "--tgt-nodata", "0"], ""),
    "flat": (lambda r, t, d: [r, variant(t, d / "t.tif", np.ones_like)], "shows nothing"),
    "another place": (lambda r, t, d: [r, variant(t, d / "t.tif", lambda a: a[:, :, ::-1].copy())], ""),
    "band absent": (lambda r, t, d: [r, t, "--tgt-bands", "2"], "no band 2"),
    "band zero": (lambda r, t, d: [r, t, "--ref-bands", "0"], "no band 0"),
    "alpha band": (lambda r, t, d: [r, with_alpha(t, d / "t.tif"), "--tgt-bands", "2"], "alpha band"),
    "band counts differ": (lambda r, t, d: [r, t, "--ref-bands", "1,1"], "2 bands of the reference against 1"),
    "window too small": (lambda r, t, d: [r, t, "--window-px", "7"], "--window-px is 7"),
    "window too large": (lambda r, t, d: [r, t, "--window-px", "4000"], ""),
    "no threads": (lambda r, t, d: [r, t, "--threads", "0"], "--threads is 0"),
    "no points": (lambda r, t, d: [r, t, "--max-points", "0"], "--max-points is 0"),
    "no spacing": (lambda r, t, d: [r, t, "--spacing-px", "0"], "--spacing-px is 0"),
    "no distance": (lambda r, t, d: [r, t, "--max-shift-m", "nan"], "--max-shift-m is nan"),
    "no rate": (lambda r, t, d: [r, t, "--false-match-rate", "1.5"], "--false-match-rate is 1.5"),
    "output folder absent": (lambda r, t, d: [r, t, "-o", str(d / "absent" / "out.tif")], "does not exist"),
    "output is a folder": (lambda r, t, d: [r, t, "-o", str(d), "--overwrite"], "is a folder"),
    "output exists": (lambda r, t, d: [r, t, "-o", existing(d / "there.tif")], "exists"),
    "output is an input": (lambda r, t, d: [r, t, "-o", t, "--overwrite"], "would replace"),
    "picture is an input": (lambda r, t, d: [r, t, "--picture", r, "--overwrite"], "would replace"),
    "picture is the output": (lambda r, t, d: [r, t, "--picture", str(d / "out.tif")], "would replace"),
    "picture exists": (lambda r, t, d: [r, t, "--picture", existing(d / "there.png")], "exists"),
}


def state(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def assert_refused(code: int, capsys: Capture, says: str, exit_code: int = 1) -> None:
    """One sentence that names us and says what to do; no traceback."""
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert code == exit_code
    assert printed.out == ""
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("georeg: ")
    assert says in lines[0]
    assert "\x1b" not in printed.err


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_one_sentence_and_no_output(name: str, shift_pair: Pair, tmp_path: Path, capsys: Capture) -> None:
    make, says = REFUSED[name]
    arguments = make(*shift_pair, tmp_path)
    before = state(tmp_path)
    if "-o" not in arguments:
        arguments += ["-o", str(tmp_path / "out.tif")]
    assert_refused(main(["align", "--quiet", *arguments]), capsys, says)
    assert state(tmp_path) == before


@pytest.mark.parametrize(
    "option",
    [
        ["--seed", "-1"], ["--max-ce90", "0px"], ["--max-rmse", "nan"], ["--max-rotation-deg", "0"],
        ["--max-scale", "1"], ["--max-stretch", "nan"], ["--min-overlap", "1"],
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused(
    option: list[str], shift_pair: Pair, tmp_path: Path, capsys: Capture
) -> None:
    code = main(["align", "--quiet", *shift_pair, "-o", str(tmp_path / "out.tif"), *option])
    assert_refused(code, capsys, option[0])


@pytest.mark.parametrize("limit", [["--max-ce90", "0.001px"], ["--max-rmse", "0.001 px"], ["--max-ce90", "1e-2m"]])
def test_an_exceeded_limit_is_exit_code_3_and_no_output(
    limit: list[str], shift_pair: Pair, tmp_path: Path, capsys: Capture
) -> None:
    code = main(["align", "--quiet", *shift_pair, "-o", str(tmp_path / "out.tif"), *limit])
    assert_refused(code, capsys, "over the limit", exit_code=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["align"],
        ["align", "r.tif", "t.tif"],
        ["no-such-verb"],
        ["align", "r.tif", "t.tif", "-o", "o.tif", "--no-such-option"],
        ["align", "r.tif", "t.tif", "-o", "o.tif", "--threads", "many"],
        ["align", "r.tif", "t.tif", "-o", "o.tif", "--ref-bands", "red"],
        ["align", "r.tif", "t.tif", "-o", "o.tif", "--model", "rubber"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    printed = capsys.readouterr()
    assert stopped.value.code == 2
    assert printed.out == ""
    assert printed.err.startswith("usage: georeg")


GARBAGE = {
    "empty": b"",
    "text": b"hello",
    "binary": b"\x89PNG\r\n\x1a\n\xff\xfe",
    "list": b"[1, 2]",
    "number": b"3",
    "empty object": b"{}",
    "nonsense object": b'{"model": 1, "tie_points": [], "inputs": null, "verification": 7}',
    "half": b'{"model": {"kind": "trans',
    "not finite": b'{"model": {"kind": "translation", "coefficients": [NaN]}}',
}


@pytest.mark.parametrize("verb", ["fit", "assess", "apply"])
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused(name: str, verb: str, tmp_path: Path, capsys: Capture) -> None:
    garbage = tmp_path / "garbage.json"
    garbage.write_bytes(GARBAGE[name])
    assert_refused(main([verb, "--quiet", str(garbage), "-o", str(tmp_path / "out")]), capsys, "")
    assert list(tmp_path.iterdir()) == [garbage]


def test_json_nested_too_deep_is_refused(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "deep.json").write_bytes(b"[" * 100_000)
    assert_refused(main(["fit", str(tmp_path / "deep.json"), "-o", str(tmp_path / "out")]), capsys, "")


WRONG = {
    "assess": ("model", "role", "tie_points", "sigma_px"),
    "apply": ("model", "tie_points", "sigma_px", "verification", "after"),
}


@pytest.mark.parametrize(("verb", "key"), [(verb, key) for verb, keys in WRONG.items() for key in keys])
@pytest.mark.parametrize("value", [None, "x", {}], ids=repr)
def test_a_damaged_result_is_refused(
    verb: str, key: str, value: Any, shift_alignment: georeg.Alignment, tmp_path: Path, capsys: Capture
) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps(shift_alignment.to_dict() | {key: value}))
    assert_refused(main([verb, "--quiet", str(result), "-o", str(tmp_path / "out")]), capsys, "")
    assert list(tmp_path.iterdir()) == [result]


def test_a_result_of_too_few_roles_is_refused(
    shift_alignment: georeg.Alignment, tmp_path: Path, capsys: Capture
) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps(shift_alignment.to_dict() | {"role": [1]}))
    assert_refused(main(["assess", "--quiet", str(result), "-o", str(tmp_path / "out")]), capsys, "")


@pytest.mark.parametrize("verb", ["fit", "assess", "apply"])
def test_an_absent_file_is_refused(verb: str, tmp_path: Path, capsys: Capture) -> None:
    arguments = [verb, "--quiet", str(tmp_path / "absent"), "-o", str(tmp_path / "out")]
    assert_refused(main(arguments), capsys, "no such file")


@pytest.mark.parametrize("verb", ["match", "assess"])
def test_no_verb_replaces_its_input(verb: str, shift_pair: Pair, tmp_path: Path, capsys: Capture) -> None:
    target = variant(shift_pair[1], tmp_path / "t.tif")
    before = state(tmp_path)
    code = main([verb, "--quiet", shift_pair[0], target, "-o", target, "--overwrite"])
    assert_refused(code, capsys, "would replace")
    assert state(tmp_path) == before


@pytest.mark.parametrize("verb", ["fit", "assess", "apply"])
def test_no_later_verb_replaces_its_input(
    verb: str, shift_alignment: georeg.Alignment, tmp_path: Path, capsys: Capture
) -> None:
    result = tmp_path / "result.json"
    result.write_text(shift_alignment.to_json())
    before = state(tmp_path)
    assert_refused(main([verb, "--quiet", str(result), "-o", str(result), "--overwrite"]), capsys, "would replace")
    assert state(tmp_path) == before


def test_a_nodata_value_may_be_written_with_an_exponent(shift_pair: Pair, capsys: Capture) -> None:
    assert main(["assess", "--quiet", *shift_pair, "--tgt-nodata", "-3.4028e+38"]) == 0
    assert capsys.readouterr().err == ""


# --- what is printed ------------------------------------------------------------------------------------------------


def test_json_is_all_there_is_on_standard_output(shift_pair: Pair, tmp_path: Path) -> None:
    done = run("align", *shift_pair, "-o", tmp_path / "out.tif", "--json")
    assert done.returncode == 0
    assert strict_json(done.stdout)["type"] == "georeg.Alignment"
    assert "match" in done.stderr
    assert "\x1b" not in done.stderr
    assert all(line.startswith("georeg: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize("verb", ["align", "match", "assess"])
def test_every_json_is_standard(verb: str, shift_pair: Pair, tmp_path: Path, capsys: Capture) -> None:
    assert main([verb, "--json", "--quiet", *shift_pair, "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert isinstance(strict_json(printed.out), dict)
    assert printed.err == ""
    if verb != "align":
        assert strict_json((tmp_path / "out").read_text()) == strict_json(printed.out)


def test_a_result_survives_its_json(shift_alignment: georeg.Alignment) -> None:
    assert georeg.Alignment.from_json(shift_alignment.to_json()) == shift_alignment
    assert georeg.Alignment.from_json(shift_alignment.to_json()).to_json() == shift_alignment.to_json()


def test_quiet_says_nothing_but_the_result(shift_pair: Pair, capsys: Capture) -> None:
    assert main(["assess", "--quiet", *shift_pair]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert len(printed.out.splitlines()) == 1
    assert "displacement 37." in printed.out
    assert "check points" in printed.out


def test_help_needs_none_of_the_heavy_packages() -> None:
    code = (
        "import sys; from georeg.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'numpy', 'rasterio', 'cv2', 'scipy', 'pyproj', 'shapely', 'odc', 'rich'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "exit codes: 0 done" in " ".join(done.stdout.split())


@pytest.mark.parametrize("verb", ["align", "batch", "match", "fit", "assess", "apply", "export"])
def test_every_verb_has_help(verb: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"georeg {georeg.__version__}\n"


def test_a_reader_that_has_gone_is_no_error(shift_pair: Pair) -> None:
    command = [sys.executable, "-m", "georeg.cli", "assess", "--json", "--quiet", *shift_pair]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_standard_output_is_one_sentence(shift_pair: Pair) -> None:
    command = [sys.executable, "-m", "georeg.cli", "assess", "--quiet", *shift_pair]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["georeg: standard output cannot be written: no space left on device"]


# --- composition, repetition, interruption --------------------------------------------------------------------------


@pytest.mark.parametrize("way", [[], ["--resample"]], ids=["geotransform", "resampled"])
def test_the_verbs_by_hand_give_the_bytes_of_align(
    way: list[str], shift_pair: Pair, tmp_path: Path, capsys: Capture
) -> None:
    points, fitted, result, by_hand, at_once = (str(tmp_path / n) for n in ("p", "f", "r", "hand.tif", "once.tif"))
    assert main(["match", "--quiet", *shift_pair, "-o", points]) == 0
    assert main(["fit", "--quiet", points, "-o", fitted]) == 0
    assert main(["assess", "--quiet", fitted, "-o", result]) == 0
    assert main(["apply", "--quiet", result, "-o", by_hand, *way]) == 0
    capsys.readouterr()
    assert main(["align", "--quiet", "--json", *shift_pair, "-o", at_once, *way]) == 0
    assert capsys.readouterr().out == Path(result).read_text()
    assert Path(by_hand).read_bytes() == Path(at_once).read_bytes()


def test_the_json_of_align_can_be_applied(shift_pair: Pair, tmp_path: Path, capsys: Capture) -> None:
    assert main(["align", "--quiet", "--json", *shift_pair, "-o", str(tmp_path / "once.tif")]) == 0
    (tmp_path / "result.json").write_text(capsys.readouterr().out)
    assert main(["apply", "--quiet", str(tmp_path / "result.json"), "-o", str(tmp_path / "again.tif")]) == 0
    assert (tmp_path / "once.tif").read_bytes() == (tmp_path / "again.tif").read_bytes()


def test_assess_changes_nothing(shift_pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [variant(path, tmp_path / name) for path, name in zip(shift_pair, ("r.tif", "t.tif"), strict=True)]
    monkeypatch.chdir(tmp_path)
    before = state(tmp_path)
    assert main(["assess", "--quiet", *pair]) == 0
    assert state(tmp_path) == before


def test_assessing_what_align_wrote_finds_no_displacement(shift_pair: Pair, tmp_path: Path, capsys: Capture) -> None:
    out = str(tmp_path / "out.tif")
    assert main(["align", "--quiet", *shift_pair, "-o", out]) == 0
    capsys.readouterr()
    assert main(["assess", "--quiet", "--json", shift_pair[0], out]) == 0
    assert np.abs(strict_json(capsys.readouterr().out)["displacement"]).max() < 0.5


def test_one_thread_and_eight_give_the_same_bytes(shift_pair: Pair, capsys: Capture) -> None:
    texts = []
    for n in ("1", "8", "8"):
        assert main(["assess", "--quiet", "--json", *shift_pair, "--threads", n]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2]


def test_another_target_of_the_same_acquisition_takes_the_correction(
    shift_pair: Pair, shift_alignment: georeg.Alignment, tmp_path: Path, capsys: Capture
) -> None:
    finer = Affine(5, 0, 300100, 0, -5, 5773000)
    other = variant(shift_pair[1], tmp_path / "other.tif", transform=finer)
    (tmp_path / "result.json").write_text(shift_alignment.to_json())
    assert main(["apply", "--quiet", str(tmp_path / "result.json"), other, "-o", str(tmp_path / "out.tif")]) == 0
    with rasterio.open(tmp_path / "out.tif") as dataset:
        moved = (dataset.transform.c - finer.c, dataset.transform.f - finer.f)
    assert moved == pytest.approx((37.3, -52.6), abs=1.0)
    assert main(["apply", "--quiet", str(tmp_path / "result.json"), other, "-o", other, "--overwrite"]) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such signals")
@pytest.mark.parametrize(
    ("stage", "number"), [("coarse", signal.SIGINT), ("refine", signal.SIGINT), ("refine", signal.SIGTERM)]
)
def test_an_interrupt_ends_soon_with_one_sentence(
    stage: str, number: signal.Signals, shift_pair: Pair, tmp_path: Path
) -> None:
    big = [enlarged(path, tmp_path / name) for path, name in zip(shift_pair, ("r.tif", "t.tif"), strict=True)]
    before = sorted(p.name for p in tmp_path.iterdir())
    command = [sys.executable, "-m", "georeg.cli", "align", *big, "-o", str(tmp_path / "out.tif"), "--resample"]
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which a shell's background job does not
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hears
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while f"georeg: {stage}" not in process.stderr.readline():
            assert process.poll() is None, "it ended before it could be interrupted"
        start = time.monotonic()
        process.send_signal(number)
        err, out = process.stderr.read(), process.stdout.read()
        process.wait(timeout=30)
        took_s = time.monotonic() - start
    assert took_s < 3  # half a second on an idle machine
    assert (process.returncode, out) == (1, "")
    assert err.splitlines()[-1] == "georeg: interrupted; nothing was written"
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_the_command_line_leaves_the_handling_of_signals_as_it_was(shift_pair: Pair) -> None:
    before = signal.getsignal(signal.SIGTERM)
    main(["assess", "--quiet", *shift_pair, "--threads", "0"])
    assert signal.getsignal(signal.SIGTERM) is before


def enlarged(source: str, path: Path) -> str:
    """Thirty-six times the pixels, so that a run takes some seconds."""

    def finer(bands: NDArray[Any]) -> NDArray[Any]:
        return np.stack([cv2.resize(band, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC) for band in bands])

    return variant(source, path, finer, height=3072, width=3072)


# --- any placement --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def turned_pictures(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Two PNG files of the same ground, the second a quarter turn clockwise of the first and a little beside it."""
    folder, shape = tmp_path_factory.mktemp("pictures"), (320, 320)
    ground = scenes.fields(side=560)
    for k, angle_deg in enumerate((0, -90)):
        picture = scenes.grey(
            scenes.see(ground, scenes.placed(1.5, angle_deg, (280 - 9 * k, 280), shape), shape), seed=k
        )
        assert cv2.imwrite(str(folder / f"{k}.png"), picture)
    return str(folder / "0.png"), str(folder / "1.png")


def test_two_pictures_without_a_place_give_a_third_on_the_first(
    turned_pictures: Pair, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out.png"
    assert main(["align", "--quiet", "--json", *turned_pictures, "-o", str(out)]) == 0
    told = strict_json(capsys.readouterr().out)
    assert told["verdict"] == "aligned"
    assert abs(told["geometry"]["rotation_deg"]) == pytest.approx(90, abs=0.01)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.png"]
    here, there = cv2.imread(turned_pictures[0], cv2.IMREAD_GRAYSCALE), cv2.imread(str(out), cv2.IMREAD_GRAYSCALE)
    assert here.shape == there.shape
    seen = there > 0
    assert 0.9 < seen.mean() < 1  # 6 of 320 columns lie beside the second picture
    assert np.corrcoef(here[seen], there[seen])[0, 1] > 0.98


def test_a_turn_beyond_the_users_limit_is_exit_code_3_and_no_output(
    turned_pictures: Pair, tmp_path: Path, capsys: Capture
) -> None:
    code = main(["align", "--quiet", *turned_pictures, "-o", str(tmp_path / "out.png"), "--max-rotation-deg", "89"])
    assert_refused(code, capsys, "--max-rotation-deg 89", exit_code=3)
    assert list(tmp_path.iterdir()) == []
    arguments = ["align", "--quiet", *turned_pictures, "-o", str(tmp_path / "out.png"), "--max-rotation-deg", "91"]
    assert main(arguments) == 0


# --- uncertainty ----------------------------------------------------------------------------------------------------


def test_align_writes_the_uncertainty_beside_the_output(shift_pair: Pair, tmp_path: Path, capsys: Capture) -> None:
    out, sigma = tmp_path / "out.tif", tmp_path / "sigma.tif"
    assert main(["align", "--quiet", "--json", *shift_pair, "-o", str(out), "--uncertainty", str(sigma)]) == 0
    result = tmp_path / "result.json"
    result.write_text(capsys.readouterr().out)
    with rasterio.open(sigma) as dataset, rasterio.open(out) as aligned:
        assert (dataset.transform, dataset.shape, dataset.crs) == (aligned.transform, aligned.shape, aligned.crs)
        assert dataset.descriptions == ("sigma_x", "sigma_y")
        # some hundred tie points, each known to a fraction of the pixels of 10 m
        assert 0.001 < dataset.read().min() <= dataset.read().max() < 1
    again = tmp_path / "again.tif"
    assert main(["apply", "--quiet", str(result), "-o", str(again), "--uncertainty", str(tmp_path / "s.tif")]) == 0
    assert (tmp_path / "s.tif").read_bytes() == sigma.read_bytes()
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("name", "says"), [("out.tif", "would replace"), ("there.tif", "exists"), ("no/s.tif", "exist")]
)
def test_an_uncertainty_that_cannot_be_written_is_refused_before_any_work(
    name: str, says: str, shift_pair: Pair, tmp_path: Path, capsys: Capture
) -> None:
    existing(tmp_path / "there.tif")
    before = state(tmp_path)
    arguments = ["-o", str(tmp_path / "out.tif"), "--uncertainty", str(tmp_path / name)]
    start = time.monotonic()
    assert_refused(main(["align", "--quiet", *shift_pair, *arguments]), capsys, says)
    assert time.monotonic() - start < 2
    assert state(tmp_path) == before
