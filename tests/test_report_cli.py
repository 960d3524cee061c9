"""Reports from the command line: beside the result, of a refusal, of a result that was kept, and never half."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import rasterio

import georeg
from georeg.cli import main
from georeg.errors import FitError, GeoregError, MatchError, OutputError, VerificationError
from georeg.interchange import fit_to_dict, points_to_dict
from georeg.report.schema import schema_text

Capture = pytest.CaptureFixture[str]


def valid(values: Any) -> bool:
    jsonschema.Draft202012Validator(json.loads(schema_text())).validate(values)
    return True


@pytest.fixture(scope="module")
def strangers(shift_pair: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A reference, and a target of noise in its place, which cannot be aligned."""
    path = tmp_path_factory.mktemp("strangers") / "noise.tif"
    with rasterio.open(shift_pair[0]) as source:
        profile = {**source.profile, "count": 1, "dtype": "uint8", "nodata": None}
        noise = np.random.default_rng(0).integers(1, 255, (1, *source.shape)).astype(np.uint8)
    with rasterio.open(path, "w", **profile) as out:
        out.write(noise)
    return shift_pair[0], str(path)


def test_a_report_is_written_beside_the_result_and_told_in_its_json(shift_pair, tmp_path, capsys):
    out, page = tmp_path / "out.tif", tmp_path / "my report.html"
    said = ["align", *shift_pair, "-o", str(out), "--report", str(page), "--json", "--quiet"]
    assert main(said) == 0
    values = json.loads(capsys.readouterr().out)
    assert valid(values)
    assert out.exists()
    assert (
        values["report"]["command"] == f"georeg align {' '.join(shift_pair)} -o {out} --report '{page}' --json --quiet"
    )
    assert "<html" in page.read_text(encoding="utf-8")
    assert georeg.Alignment.from_dict(values) == georeg.align(*shift_pair)


def test_a_report_changes_no_result(shift_pair, tmp_path):
    for name, more in (("plain.tif", []), ("told.tif", ["--report", str(tmp_path / "r.html")])):
        assert main(["align", *shift_pair, "-o", str(tmp_path / name), "--quiet", *more]) == 0
    assert (tmp_path / "plain.tif").read_bytes() == (tmp_path / "told.tif").read_bytes()


def test_a_report_that_fails_leaves_no_output(shift_pair, tmp_path, capsys, monkeypatch):
    def broken(*_: Any, **__: Any) -> str:
        raise OutputError("the disk is full")

    monkeypatch.setattr(sys.modules["georeg.report.write"], "page", broken)
    code = main(["align", *shift_pair, "-o", str(tmp_path / "o.tif"), "--report", str(tmp_path / "r.html"), "--quiet"])
    assert code == 1
    assert "disk is full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_refused_pair_is_reported_and_stays_refused(strangers, tmp_path, capsys):
    out, page = tmp_path / "out.tif", tmp_path / "refused.html"
    code = main(["align", *strangers, "-o", str(out), "--report", str(page), "--json", "--quiet"])
    told = capsys.readouterr()
    assert code == 1
    assert not out.exists()
    values = json.loads(told.out)
    assert valid(values)
    assert (values["type"], values["verdict"]) == ("georeg.Refusal", "refused")
    assert values["message"] in told.err
    assert values["command"].startswith("georeg align ")
    assert "<html" in page.read_text(encoding="utf-8")


def test_a_limit_that_is_exceeded_is_reported_with_its_exit_code(shift_pair, tmp_path, capsys):
    page = tmp_path / "r.html"
    said = ["assess", *shift_pair, "--max-ce90", "0.0001px", "--report", str(page), "--json", "--quiet"]
    assert main(said) == 3
    values = json.loads(capsys.readouterr().out)
    assert valid(values)
    assert values["error"] == "LimitError"
    assert values["tie_points"]["status"]
    assert page.exists()


def test_an_input_that_cannot_be_used_has_no_report(shift_pair, tmp_path):
    said = ["assess", shift_pair[0], str(tmp_path / "gone.tif"), "--report", str(tmp_path / "r.html"), "--quiet"]
    assert main(said) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_report_a_refusal_writes_and_prints_nothing(strangers, tmp_path, capsys):
    assert main(["assess", *strangers, "--json", "--quiet"]) == 1
    assert capsys.readouterr().out == ""


def test_an_assessment_has_a_report_and_a_raster_of_false_change(shift_pair, tmp_path, capsys):
    page, change, result = tmp_path / "r.html", tmp_path / "change.tif", tmp_path / "result.json"
    said = ["assess", *shift_pair, "-o", str(result), "--report", str(page), "--false-change", str(change), "--quiet"]
    assert main(said) == 0
    assert valid(json.loads(result.read_text()))
    assert "nothing was changed" in capsys.readouterr().out
    with rasterio.open(change) as dataset:
        assert dataset.descriptions == ("expected", "observed")
        assert dataset.dtypes == ("float32", "float32")
        assert (dataset.read(1, masked=True) >= 0).all()


def test_a_report_is_made_of_a_result_that_was_kept(shift_alignment, tmp_path, capsys):
    result, page = tmp_path / "result.json", tmp_path / "r.html"
    result.write_text(shift_alignment.to_json())
    assert main(["report", str(result), "-o", str(page), "--json", "--quiet"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert valid(values)
    assert values["report"]["command"].startswith("georeg align ")
    result.write_text(json.dumps(values))  # a result with a report is a result
    assert main(["report", str(result), "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == values["report"]["verdict"]
    assert main(["report", str(result), "-o", str(page), "--quiet"]) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["report", str(result), "-o", str(page), "--overwrite", "--quiet"]) == 0


def test_only_an_alignment_has_a_report(shift_alignment, tmp_path, capsys):
    for values in (fit_to_dict(shift_alignment.fitted), points_to_dict(shift_alignment.points)):
        path = tmp_path / "other.json"
        path.write_text(json.dumps(values))
        assert main(["report", str(path), "-o", str(tmp_path / "r.html"), "--quiet"]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "is not the result of an alignment" in error
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("option", ["--report", "--false-change"])
@pytest.mark.parametrize("name", ["there.html", "absent/r.html", "target", "result.json"])
def test_a_report_replaces_nothing(option, name, shift_pair, tmp_path, capsys):
    """Known before the work, so that nobody waits in vain."""
    (tmp_path / "there.html").write_text("precious")
    path = shift_pair[1] if name == "target" else str(tmp_path / name)
    said = ["assess", *shift_pair, "-o", str(tmp_path / "result.json"), option, path, "--quiet"]
    more = [] if name == "there.html" else ["--overwrite"]
    assert main([*said, *more]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["there.html"]
    assert (tmp_path / "there.html").read_text() == "precious"
    capsys.readouterr()


def test_an_output_is_not_the_report(shift_pair, tmp_path):
    path = str(tmp_path / "o.tif")
    assert main(["align", *shift_pair, "-o", path, "--report", path, "--quiet"]) == 1
    assert not Path(path).exists()


def test_errors_after_matching_carry_the_tie_points(shift_pair, shift_alignment, monkeypatch):
    def refusing(error: type[GeoregError]) -> Any:
        def broken(*_: Any, **__: Any) -> None:
            raise error("refused")

        return broken

    module = sys.modules["georeg.align"]
    for name, error in (("fit", FitError), ("verify", VerificationError)):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, refusing(error))
            with pytest.raises(error) as caught:
                georeg.align(*shift_pair)
        assert caught.value.evidence == shift_alignment.points
    with monkeypatch.context() as patch:
        patch.setattr(module, "find_tie_points", refusing(MatchError))
        with pytest.raises(MatchError) as caught:
            georeg.align(*shift_pair)
    assert caught.value.evidence is None
