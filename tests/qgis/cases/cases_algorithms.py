"""Each algorithm in Processing."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def given(samples):
    """Reference and target."""
    return {"REFERENCE": samples["shift_reference"], "TARGET": samples["shift_target"]}


def test_align(georeg, given, truth, tmp_path):
    done = georeg("align", **given, OUTPUT=tmp_path / "o.tif", RESULT=tmp_path / "r.json")
    assert done["VERDICT"] == "aligned"
    assert (done["SHIFT_EAST"], done["SHIFT_NORTH"]) == pytest.approx(truth, abs=1.0)
    assert os.path.exists(done["OUTPUT"])


def test_match_fit_assess_and_apply(georeg, given, tmp_path):
    points = georeg("match", **given, OUTPUT=tmp_path / "p.json")
    fit = georeg("fit", POINTS=points["OUTPUT"], OUTPUT=tmp_path / "f.json")
    proven = georeg("assess", FIT=fit["OUTPUT"], OUTPUT=tmp_path / "a.json")
    done = georeg("apply", RESULT=proven["OUTPUT"], OUTPUT=tmp_path / "o.tif")
    assert points["N_TIE_POINTS"] >= fit["N_TIE_POINTS"] > 100
    assert proven["N_CHECK_POINTS"] >= 4
    assert os.path.exists(done["OUTPUT"])


def test_batch(georeg, given, tmp_path):
    done = georeg("batch", REFERENCE=given["REFERENCE"], TARGETS=[given["TARGET"]], OUTPUT=tmp_path / "many")
    assert (done["N_ALIGNED"], done["N_REFUSED"]) == (1, 0)


def test_a_refusal_is_an_exception_in_words(georeg, given, samples, tmp_path):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match=r"confirmed|refused"):
        georeg("align", **{**given, "TARGET": samples["polynomial_target"]}, OUTPUT=tmp_path / "o.tif")
    assert not (tmp_path / "o.tif").exists()
