"""Plots show the numbers that the result holds, where they are told to, and change nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

import georeg
from georeg.accuracy import agreeing
from georeg.cli import main
from georeg.errors import InputError, OutputError
from georeg.fit import Role
from georeg.report.boards import board
from georeg.report.diagnostics import plot_histogram, plot_radial, plot_uncertainty
from georeg.report.plot_files import PLOTS, check_plots, write_plots
from georeg.report.plots import grouped, plot_residuals, plot_vectors

METHODS = ["plot_residuals", "plot_vectors", "plot_checkerboard"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def without_a_screen() -> Iterator[None]:
    """Figures of pyplot are drawn in memory, and closed after the test."""
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


@pytest.fixture(scope="module")
def mixed(shift_alignment: georeg.Alignment) -> georeg.Fit:
    """The fit of the sample pair with an outlier, a check point far away, and a rejected tie point."""
    fitted = shift_alignment.fitted
    role, withheld_xy = fitted.role.copy(), fitted.withheld_xy.copy()
    fit = np.flatnonzero(role == Role.FIT)
    role[fit[0]], role[fit[1]] = Role.OUTLIER, Role.REJECTED
    withheld_xy[np.flatnonzero(role == Role.CHECK)[0]] = (400, 300)
    return replace(fitted, role=role, withheld_xy=withheld_xy)


# --- what is drawn is what is known ---------------------------------------------------------------------------------


def arrows(ax: Axes) -> dict[str, Quiver]:
    return {str(q.get_gid()): q for q in ax.collections if isinstance(q, Quiver)}


@pytest.mark.parametrize("scale", [None, 40.0])
def test_arrows_are_the_residuals_times_the_scale(
    scale: float | None, shift_alignment: georeg.Alignment, ax: Axes
) -> None:
    fitted = shift_alignment.fitted
    shift_alignment.plot_vectors(ax, scale=scale)
    seen = agreeing(fitted)
    for name, of, residual in (
        ("check point", seen, fitted.withheld_xy),
        ("fit", fitted.role == Role.FIT, fitted.residual()),
    ):
        quiver = arrows(ax)[name]
        at, drawn = np.asarray(quiver.get_offsets()), np.stack([quiver.U, quiver.V], axis=1) / quiver.scale
        assert quiver.angles == quiver.scale_units == "xy"
        np.testing.assert_allclose(at, fitted.points.ref_xy[of])
        np.testing.assert_allclose(drawn / residual[of], 1 / quiver.scale)
        if scale is not None:
            assert quiver.scale == pytest.approx(1 / scale)
    assert f"{1 / quiver.scale:g} times" in ax.get_title(loc="left")


def test_an_arrow_that_was_asked_for_too_long_is_left_out_and_counted(mixed: georeg.Fit, ax: Axes) -> None:
    plot_vectors(mixed, ax, scale=100.0)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "check point left out" not in arrows(ax)
    assert any(label.startswith("check point left out (1)") for label in labels)


def test_every_tie_point_has_a_mark_by_what_it_did(mixed: georeg.Fit, ax: Axes) -> None:
    plot_vectors(mixed, ax)
    group = grouped(mixed)[0]
    marks = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert {str(m.get_label()).split(" (")[0] for m in marks} == set(group)
    assert set(group) == {"check point", "fit", "check point left out", "outlier", "rejected"}
    assert sum(len(m.get_offsets()) for m in marks) == len(mixed.points)
    looks = {(m.get_paths()[0].vertices.tobytes(), tuple(m.get_edgecolor()[0])) for m in marks}
    assert len({shape for shape, _ in looks}) == len({colour for _, colour in looks}) == len(marks)
    assert "rejected" not in arrows(ax)


def test_the_circle_holds_ce90_and_the_points_are_the_check_points(shift_alignment: georeg.Alignment, ax: Axes) -> None:
    shift_alignment.plot_residuals(ax)
    fitted, seen = shift_alignment.fitted, agreeing(shift_alignment.fitted)
    (circle,) = (p for p in ax.patches if p.get_gid() == "CE90")
    assert circle.get_radius() == shift_alignment.after.ce90
    assert tuple(circle.center) == (0, 0)
    drawn = {str(c.get_label()): np.asarray(c.get_offsets()) for c in ax.collections}
    np.testing.assert_array_equal(drawn["before"], fitted.points.displacement[seen])
    np.testing.assert_array_equal(drawn["after"], fitted.withheld_xy[seen])
    assert len(drawn["after"]) == shift_alignment.after.n
    assert ax.get_aspect() == 1
    (inset,) = ax.child_axes  # the shift is two hundred times what is left of it
    assert np.abs(inset.get_xlim()).max() < 3 * np.abs(drawn["after"]).max()


def test_options_of_scatter_are_passed_on(shift_alignment: georeg.Alignment, ax: Axes) -> None:
    shift_alignment.plot_residuals(ax, s=77, alpha=0.25)
    assert all(c.get_sizes()[0] == 77 and c.get_alpha() == 0.25 for c in ax.collections)


def test_the_checkerboard_is_of_the_place_that_was_asked_for(shift_alignment: georeg.Alignment, ax: Axes) -> None:
    points = shift_alignment.points
    place = points.ref_xy.mean(axis=0) + (200, -100)
    shift_alignment.plot_checkerboard(ax, place=place)
    seen = board(shift_alignment.fitted, place)
    np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), seen.mixed(seen.after))
    middle = seen.affine @ (96, 96)
    assert np.abs(middle - place).max() <= 10  # one pixel
    assert (seen.before != seen.after).any()


def test_a_histogram_counts_every_check_point_on_both_axes(shift_alignment: georeg.Alignment, ax: Axes) -> None:
    plot_histogram(shift_alignment.fitted, ax)
    for patch in ax.patches:
        x, y = patch.get_xy().T
        n_bins = len(np.unique(x)) - 1
        assert y[1 : 2 * n_bins : 2].sum() == shift_alignment.after.n
    assert f"{shift_alignment.after.bias_x:+.2g} m" in ax.get_legend().get_texts()[0].get_text()


def test_radial_curves_end_at_all_points_and_pass_through_ce90(shift_alignment: georeg.Alignment, ax: Axes) -> None:
    plot_radial(shift_alignment.fitted, ax)
    before, after = (np.stack(line.get_data(), axis=1) for line in ax.lines)
    assert after[-1, 1] == before[-1, 1] == 100
    assert abs(np.interp(shift_alignment.after.ce90, *after.T) - 90) <= 100 / shift_alignment.after.n
    assert any(f"{shift_alignment.after.ce90:.3g} m" in text.get_text() for text in ax.get_legend().get_texts())


def test_the_map_of_uncertainty_holds_the_covariance_of_the_model(shift_alignment: georeg.Alignment, ax: Axes) -> None:
    fitted = shift_alignment.fitted
    plot_uncertainty(fitted, ax)
    values = np.ma.asarray(ax.collections[0].get_array()).compressed()
    expected = np.sqrt(np.trace(fitted.model.covariance_at(fitted.points.tgt_xy[:1])[0]))
    np.testing.assert_allclose(values, expected)  # that of a translation is the same everywhere


@pytest.mark.parametrize("name", ["vectors.png", "checkerboard.png", "uncertainty.png"])
def test_maps_have_a_scale_bar_as_long_as_it_says_and_a_north_arrow(
    name: str, shift_alignment: georeg.Alignment
) -> None:
    figure = Figure()
    PLOTS[name][1](shift_alignment.fitted, figure)
    ax = figure.axes[0]
    (bar,) = (p for p in ax.patches if p.get_gid() == "scale bar")
    texts = [text.get_text() for text in ax.texts]
    assert {f"{bar.get_width():g} m", f"{bar.get_width() / 1000:g} km"} & set(texts)
    assert "N" in texts


@pytest.mark.parametrize("name", PLOTS)
def test_every_axis_has_its_unit(name: str, shift_alignment: georeg.Alignment) -> None:
    figure = Figure()
    PLOTS[name][1](shift_alignment.fitted, figure)
    for ax in figure.axes:
        for label in (ax.get_xlabel(), ax.get_ylabel()):
            assert any(unit in label for unit in ("(m)", "(px)", "(%)", "(standard deviations)", "check points")) or (
                ax.get_label() == "<colorbar>" and not label
            )


# --- where it is drawn ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_axes_that_are_given_are_drawn_on_and_returned_and_nothing_else_changes(
    method: str, shift_alignment: georeg.Alignment
) -> None:
    before, figures, style = dict(matplotlib.rcParams), pyplot.get_fignums(), matplotlib.get_backend()
    ax = Figure().subplots()
    assert getattr(shift_alignment, method)(ax) is ax
    assert ax.has_data()
    assert pyplot.get_fignums() == figures
    assert (dict(matplotlib.rcParams), matplotlib.get_backend()) == (before, style)


@pytest.mark.parametrize("method", METHODS)
def test_without_axes_there_is_one_new_figure_that_is_not_shown(
    method: str, shift_alignment: georeg.Alignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyplot, "show", lambda *_, **__: pytest.fail("it was shown"))
    before = len(pyplot.get_fignums())
    ax = getattr(shift_alignment, method)()
    assert len(pyplot.get_fignums()) == before + 1
    assert ax.figure is pyplot.gcf()


@pytest.mark.parametrize("method", METHODS)
def test_without_matplotlib_one_sentence_says_what_to_install(
    method: str, shift_alignment: georeg.Alignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"pip install 'georeg\[plot\]'"):
        getattr(shift_alignment, method)()


def test_what_cannot_be_plotted_is_refused(shift_alignment: georeg.Alignment, ax: Axes) -> None:
    fitted = shift_alignment.fitted
    with pytest.raises(InputError, match="none of 169 tie points is a check point"):
        plot_residuals(replace(fitted, withheld_xy=np.full_like(fitted.withheld_xy, np.nan)), ax)
    with pytest.raises(InputError, match="scale is -1"):
        plot_vectors(fitted, ax, scale=-1)
    with pytest.raises(InputError, match="is no place"):
        shift_alignment.plot_checkerboard(ax, place=(1.0, float("nan")))
    assert not ax.has_data()


# --- files ----------------------------------------------------------------------------------------------------------


def test_all_plots_are_written_into_a_new_folder(shift_pair: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "plots"
    assert main(["assess", "--quiet", *shift_pair, "--plots", str(folder)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert sorted(os.listdir(folder)) == sorted(PLOTS)
    for name, (size, _) in PLOTS.items():
        picture = cv2.imread(str(folder / name))
        assert picture.shape[:2] == (round(150 * size[1]), round(150 * size[0]))
        assert picture.std() > 5


def test_plots_that_are_there_are_kept_unless_told_otherwise(
    shift_pair: tuple[str, str], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "qq.png").write_bytes(b"mine")
    (tmp_path / "note.txt").write_bytes(b"mine too")
    out = tmp_path / "out.tif"
    assert main(["align", *shift_pair, "-o", str(out), "--plots", str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, "it was refused before any work"
    assert "qq.png exists; choose another output or give --overwrite" in said[0]
    assert sorted(os.listdir(tmp_path)) == ["note.txt", "qq.png"]
    assert main(["align", *shift_pair, "-o", str(out), "--plots", str(tmp_path), "--overwrite"]) == 0
    assert (tmp_path / "qq.png").read_bytes() != b"mine"
    assert (tmp_path / "note.txt").read_bytes() == b"mine too"
    assert sorted(os.listdir(tmp_path)) == sorted([*PLOTS, "note.txt", "out.tif"])


def test_a_plot_that_fails_leaves_none(
    shift_alignment: georeg.Alignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise InputError("it is gone")

    monkeypatch.setitem(PLOTS, "uncertainty.png", ((1.0, 1.0), fail))
    with pytest.raises(InputError, match="gone"):
        write_plots(shift_alignment.fitted, str(tmp_path / "plots"))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        check_plots(str(tmp_path / "file"), [], overwrite=True)
    with pytest.raises(OutputError, match="does not exist"):
        check_plots(str(tmp_path / "absent" / "plots"), [], overwrite=True)
    with pytest.raises(OutputError, match="would replace"):
        check_plots(str(tmp_path), [str(tmp_path / "radial.png")], overwrite=True)
    assert (tmp_path / "file").read_bytes() == b"mine"


# --- notebooks ------------------------------------------------------------------------------------------------------


def test_a_notebook_shows_the_figures_and_a_map_in_html_without_scripts(shift_alignment: georeg.Alignment) -> None:
    text = shift_alignment._repr_html_()
    tree = ElementTree.fromstring(text)
    assert not [e for e in tree.iter() if e.tag.endswith("script")]
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    after = shift_alignment.after
    assert f"{after.rmse:.3g} m ({after.rmse / after.gsd:.2g} px)" in text
    assert shift_alignment.summary() in "".join(tree.itertext())
    svg = "{http://www.w3.org/2000/svg}"
    fit = (shift_alignment.fitted.role == Role.FIT).sum()
    assert len(tree.findall(f".//{svg}circle")) == fit
    assert len(tree.findall(f".//{svg}rect")) == 1 + after.n
    assert len(text) < 60_000


def test_names_of_files_are_text_in_a_notebook(shift_alignment: georeg.Alignment) -> None:
    fitted = shift_alignment.fitted
    inputs = replace(fitted.points.inputs, gcp="<img src=x onerror=alert(1)>.points")
    evil = replace(shift_alignment, fitted=replace(fitted, points=replace(fitted.points, inputs=inputs)))
    assert "&lt;img" in evil._repr_html_()
    assert "<img" not in evil._repr_html_()
