"""The published JSON Schema holds for what georeg writes, and for nothing else."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import georeg
from georeg.cli import main
from georeg.errors import VerificationError
from georeg.interchange import fit_to_dict, points_to_dict
from georeg.models import LADDER
from georeg.report.find import find
from georeg.report.refusal import pictures_of, refusal
from georeg.report.schema import schema_text
from georeg.report.write import plain, reported

SAMPLES = Path(__file__).resolve().parents[1] / "sample_tiles"
PAIRS = ("shift", "affine", "cross", "polynomial")


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def result(shift_alignment: georeg.Alignment) -> dict[str, Any]:
    return plain(reported(shift_alignment, find(shift_alignment)[0]))


@pytest.mark.parametrize("name", PAIRS)
def test_results_of_the_sample_pairs_are_valid_and_read_again_equal(name, validator):
    paths = [SAMPLES / f"{name}_{side}.tif" for side in ("reference", "target")]
    alignment = georeg.align(*paths)
    values = plain(reported(alignment, find(alignment)[0]))
    validator.validate(values)
    assert georeg.Alignment.from_dict(values) == alignment
    assert georeg.Alignment.from_json(json.dumps(values)).to_json() == alignment.to_json()
    validator.validate(plain(alignment.to_dict()))


@pytest.mark.parametrize("kind", sorted(LADDER))
def test_every_kind_of_model_is_valid(kind, shift_alignment, validator):
    fitted = georeg.fit(shift_alignment.points, georeg.FitOptions(model=kind))
    values = plain(fit_to_dict(fitted))
    validator.validate(values)
    values["model"]["kind"] = "none"
    assert not validator.is_valid(values)


def test_tie_points_alone_are_valid(shift_alignment, validator):
    validator.validate(plain(points_to_dict(shift_alignment.points)))


def test_a_refusal_is_valid_with_and_without_tie_points(shift_pair, shift_alignment, validator):
    error = VerificationError("refused: 2 of 9 check points agree")
    validator.validate(plain(refusal(error, *shift_pair, "georeg align a b").to_dict()))
    assert pictures_of(refusal(error, *shift_pair, "georeg align a b")) is None
    error.evidence = shift_alignment.points
    told = refusal(error, *shift_pair, "georeg align a b")
    validator.validate(plain(told.to_dict()))
    pictures = pictures_of(told)
    assert pictures is not None
    assert [chip.kind for chip in pictures.chips] == ["middle"]


def paths_of(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of every object in it, those of lists by their first alone."""
    if isinstance(values, list):
        return paths_of(values[0], (*path, 0)) if values else []
    if not isinstance(values, dict):
        return []
    return [path, *(inner for name, value in values.items() for inner in paths_of(value, (*path, name)))]


def at(values: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        values = values[step]
    return values


def test_no_object_may_have_more_than_is_described_nor_less(result, validator):
    validator.validate(result)
    optional = {"options", "report", "apart", "gcp", "initial"}
    for path in paths_of(result):
        if path[-1:] == ("software",):
            continue  # of whatever names
        more = copy.deepcopy(result)
        at(more, path)["surplus"] = 1
        assert not validator.is_valid(more), path
        for name in set(at(result, path)) - optional:
            less = copy.deepcopy(result)
            del at(less, path)[name]
            assert not validator.is_valid(less), (*path, name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "perfect"),
        (("after", "rmse"), -0.1),
        (("after", "n"), 3.5),
        (("role", 0), 4),
        (("tie_points", "status", 0), "lost"),
        (("tie_points", "gsd"), 0),
        (("report", "bins", 0, "chance"), 1.5),
        (("report", "places", 0, "kind"), "prettiest"),
        (("report", "before"), None),
        (("displacement",), [1.0, 2.0, 3.0]),
    ],
)
def test_wrong_values_are_not_valid(path, value, result, validator):
    wrong = copy.deepcopy(result)
    at(wrong, path[:-1])[path[-1]] = value
    assert not validator.is_valid(wrong)


def test_the_schema_is_printed(capsys):
    assert main(["report", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(schema_text())


def test_the_schema_is_read_from_the_package_wherever_it_is_run(tmp_path):
    code = "from georeg.report.schema import schema_text; print(len(schema_text()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(schema_text())
