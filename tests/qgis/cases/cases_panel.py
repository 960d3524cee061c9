"""The panel inside of QGIS: align, check, refit, a point by hand, cancel, a refusal."""

from __future__ import annotations

import os

import pytest
from conftest import GeoregDock, gone, until
from qgis.core import QgsProject, QgsRasterLayer


def aligned(dock):
    """The run that Align makes."""
    dock.running.align_button.click()
    until(lambda: not dock.job.running)
    assert dock.history.last is not None, dock.running.log.toPlainText()
    return dock.history.last


def test_align_writes_a_copy_and_says_what_it_is_good_for(dock, truth, samples):
    before = os.path.getsize(samples["shift_target"])
    run = aligned(dock)
    assert os.path.basename(run.output) == "shift_target_aligned.tif"
    assert run.values["displacement"] == pytest.approx(truth, abs=1.0)
    assert "proven on" in dock.result.verdict.text()
    assert QgsProject.instance().mapLayer(run.shown.aligned).isValid()
    assert os.path.getsize(samples["shift_target"]) == before


def test_check_only_writes_nothing(dock, tmp_path):
    before = {path.name for path in tmp_path.iterdir()}
    dock.running.check_button.click()
    until(lambda: not dock.job.running)
    assert "Nothing was written" in dock.result.verdict.text()
    assert {path.name for path in tmp_path.iterdir()} - before <= {f"{name}.aux.xml" for name in before}


def test_refit_fits_without_what_was_unticked_and_matches_nothing(dock):
    first = aligned(dock)
    model = dock.result.model
    off = [tie.number for tie in model.ties[:3]]
    model.unticked |= set(off)
    model.unticked_changed.emit()
    log = len(dock.running.log.toPlainText())
    dock.result.refit_button.click()
    until(lambda: not dock.job.running)
    run = dock.history.last
    assert run is not first
    assert [k for k, one in enumerate(run.values["tie_points"]["status"], 1) if one == "disabled"] == sorted(off)
    assert "match " not in dock.running.log.toPlainText()[log:]
    assert dock.history.runs == [first, run]


def test_a_refit_keeps_to_the_limits_that_were_set(dock):
    first = aligned(dock)
    dock.options.form.set_values({"MAX_RMSE": "0.000001px"})
    dock.result.model.unticked |= {dock.result.model.ties[0].number}
    dock.result.model.unticked_changed.emit()
    dock.result.refit_button.click()
    until(lambda: not dock.job.running)
    assert "over the limit" in dock.result.verdict.text(), dock.running.log.toPlainText()
    assert dock.history.last is first


def test_the_history_is_there_in_a_panel_that_is_opened_later(dock, qgis_iface):
    run = aligned(dock)
    other = GeoregDock(qgis_iface)
    assert [one.name for one in other.history.runs] == [run.name]
    assert "proven on" in other.result.verdict.text()
    gone(other)


def test_a_point_by_hand_is_measured_and_fitted(dock, truth):
    run = aligned(dock)
    tie = run.ties[30]
    dock.desk.measure((tie.ref_xy[0] + 40.0, tie.ref_xy[1] - 30.0), None, None)
    until(lambda: not dock.job.running)
    (made,) = [tie for _, tie, _ in dock.desk.draft.made]
    moved = [made.ref_xy[axis] - made.tgt_xy[axis] for axis in (0, 1)]
    assert moved == pytest.approx(truth, abs=1.0)
    dock.result.refit_button.click()
    until(lambda: not dock.job.running)
    assert dock.history.last.by_hand == {made.number}
    assert len(dock.history.last.ties) == len(run.ties) + 1


def test_cancel_changes_no_file(dock, tmp_path):
    dock.running.align_button.click()
    until(lambda: dock.running.bar.maximum() > 0)
    dock.running.cancel_button.click()
    until(lambda: not dock.job.running)
    assert "No file was changed" in dock.result.verdict.text()
    assert not list(tmp_path.glob("*aligned*"))


def test_a_pair_of_other_ground_is_refused(dock, samples, tmp_path):
    other = QgsRasterLayer(samples["polynomial_target"], "another place")
    QgsProject.instance().addMapLayer(other)
    dock.inputs.target.setLayer(other)
    dock.running.align_button.click()
    until(lambda: not dock.job.running)
    assert "Do not use" in dock.result.verdict.text()
    assert dock.history.last is None
    assert not list(tmp_path.glob("*aligned*"))


def test_undo_takes_the_files_away(dock, tmp_path):
    run = aligned(dock)
    made = [run.output, *run.shown.beside]
    assert all(map(os.path.exists, made))
    dock.undo(delete=True)
    assert not any(map(os.path.exists, made))
    assert dock.history.last is None


def test_the_history_comes_back_with_its_project(dock, tmp_path):
    run = aligned(dock)
    QgsProject.instance().write(str(tmp_path / "project.qgz"))
    QgsProject.instance().clear()
    assert dock.history.last is None
    assert QgsProject.instance().read(str(tmp_path / "project.qgz"))
    again = dock.history.last
    assert (again.name, again.values, again.ties) == (run.name, run.values, run.ties)
    assert again.shown.aligned == run.shown.aligned
