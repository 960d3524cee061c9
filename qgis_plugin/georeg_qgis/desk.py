"""What can be done with results: points by hand, refits, the history, and the same in Processing."""

from __future__ import annotations

import json
import os
from typing import Any

from qgis.core import QgsProject
from qgis.PyQt.QtCore import QObject, QTimer

from .canvas_view import OTHER
from .figures import Tie, check_numbers, refusal, without
from .hand import Draft, Hand, can_point, snap_words
from .history import Run
from .i18n import translated as tr
from .panel_history import HistoryPanel
from .params import load_schema, values_of
from .processing_dialog import open_dialog


class Desk(QObject):
    """Works for the panel, whose runs it begins.

    ``dock`` is a `dock.GeoregDock`.
    """

    def __init__(self, dock: Any) -> None:
        super().__init__(dock)
        self._dock = dock
        self.list = HistoryPanel()
        self.hand = Hand(dock.view.canvas, dock.view.compare, self)
        self.draft: Draft | None = None
        self.dialog: Any = None
        """Of an algorithm; QGIS closes it where nobody holds it."""
        self._connect()

    def _connect(self) -> None:
        result = self._dock.result
        result.add_asked.connect(self.add_point)
        result.move_asked.connect(self.move_point)
        result.back_asked.connect(self.take_back)
        result.refit_asked.connect(self.refit)
        result.processing_asked.connect(self.open_in_processing)
        result.board_toggled.connect(self.board)
        self.hand.told.connect(self._tell)
        self.hand.pointed.connect(self.measure)
        self.list.shown.connect(self.show_run)
        self.list.compared.connect(self.compare)
        self.list.again.connect(self.run_again)
        QgsProject.instance().readProject.connect(self.project_read)

    def release(self) -> None:
        """Leave nothing on the canvas, and hear no more of the project."""
        QgsProject.instance().readProject.disconnect(self.project_read)
        self.hand.stop()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def run_shown(self, run: Run) -> None:
        """Another result is in the panel."""
        self.hand.stop()
        self.draft = Draft(run.values)
        self._show_draft(run)
        self._dock.result.compare_with_own()
        self.list.show_runs(self._dock.history.runs)

    def cleared(self) -> None:
        """No result is in the panel."""
        self.hand.stop()
        self.draft = None
        self.list.show_runs(self._dock.history.runs)

    def board(self, on: bool) -> None:
        """The checkerboard, where the result is worst."""
        if on:
            self._dock.view.zoom_to_worst(self._dock.shown_ties)
        self._dock.view.compare.board(on)

    def _show_draft(self, run: Run) -> None:
        made = self.draft.made if self.draft is not None else []
        self._dock.result.show_hand(can_point=can_point(run), made=len(made))
        self._dock.view.show_hand([tie for _, tie, _ in made])

    # --- points by hand -----------------------------------------------------------------------------------------------

    def add_point(self) -> None:
        """One more tie point."""
        last = self._last()
        if last is not None:
            self._dock.result.stop_comparing()
            self.hand.add(last)

    def move_point(self, tie: Tie) -> None:
        """Another place for a tie point."""
        last = self._last()
        if last is not None:
            self._dock.result.stop_comparing()
            self._dock.view.zoom_to(tie)
            self.hand.move(last, tie)

    def measure(self, ref_xy: Any, tgt_xy: Any, moved: Tie | None) -> None:
        """Have georeg measure the exact place near where somebody pointed."""
        if self.draft is None or self._dock.job.running:
            return
        source, points = (self._dock.file(name) for name in ("result.json", "snapped.json"))
        with open(source, "w", encoding="utf-8") as file:
            json.dump(self.draft.now, file)
        words = [*snap_words(ref_xy, tgt_xy, moved), *self._dock.options.form.words("snap")]
        self._dock.result.tell_hand(tr("Measuring the exact place…"))
        self._dock.begin(
            ["snap", source, *words, "-o", points, "--overwrite"],
            lambda line: self._measured(line["values"], moved),
            beside=True,
            otherwise=self._not_measured,
        )

    def _measured(self, answer: dict[str, Any], moved: Tie | None) -> None:
        last = self._last()
        if self.draft is None or last is None:
            return
        tie = self.draft.add(answer, moved)
        self._dock.result.tell_hand("")
        self._dock.result.model.put_tie(tie)
        self._dock.result.table.scrollToTop()
        self._show_draft(last)

    def _not_measured(self, _code: str, message: str, hint: str) -> None:
        verdict = refusal("usage", message, hint)
        why, *what_to_do = verdict.text.split("\n")[:-1]  # the last says that no file was changed
        self._tell(" ".join([why, *what_to_do]), bad=True)

    def _tell(self, text: str, *, bad: bool = False) -> None:
        """Say it in the panel, where it is seen."""
        result, scrolled = self._dock.result, self._dock.widget()
        result.tell_hand(text, bad=bad)
        if text:
            QTimer.singleShot(0, lambda: scrolled.ensureWidgetVisible(result.hand_told))  # once it has its place

    def take_back(self) -> None:
        """Without the last point by hand."""
        last = self._last()
        if self.draft is not None and self.draft.made and last is not None:
            tie, before = self.draft.take_back()
            self._dock.result.model.drop_tie(tie.number, before)
            self._show_draft(last)

    # --- fitting and doing again --------------------------------------------------------------------------------------

    def refit(self) -> None:
        """Fit with the points by hand and without those that are unticked; windows are not matched again."""
        last = self._last()
        if last is None or self.draft is None:
            return
        off = set(self._dock.result.model.unticked)
        left_out = off & (check_numbers(last.values) | last.left_out)
        by_hand = last.by_hand | self.draft.numbers
        self._fit(last, without(self.draft.now, sorted(off)), {"left_out": left_out, "by_hand": by_hand})

    def _fit(self, run: Run, tie_points: dict[str, Any], known: dict[str, Any]) -> None:
        """Fit tie points, prove it anew and apply it."""
        dock = self._dock
        words = dock.words("apply")
        if words is None or dock.job.running:
            return
        points, fit, proven = (dock.file(name) for name in ("points.json", "fit.json", "proven.json"))
        for path in (fit, proven):
            if os.path.exists(path):
                os.remove(path)
        with open(points, "w", encoding="utf-8") as file:
            json.dump(tie_points, file)
        output, form = dock.output_for(run.target), dock.options.form
        limits, fitting = form.words("assess", "LimitOptions"), form.words("fit")

        def applied(found: dict[str, Any], values: dict[str, Any]) -> None:
            line = {**found, "values": values, "target": run.target}
            dock.keep(line, str(line.get("output") or ""), known)

        def assessed(found: dict[str, Any]) -> None:
            arguments = ["apply", proven, "-o", output, *words]
            dock.begin(arguments, lambda done: applied(done, found["values"]), goes_on=True)

        def fitted(_: dict[str, Any]) -> None:
            dock.begin(["assess", fit, "-o", proven, *limits], assessed, goes_on=True)

        dock.begin(["fit", points, "-o", fit, *fitting], fitted)
        dock.by_hand = set(known["by_hand"])

    def run_again(self, run: Run) -> None:
        """The same words again, into another file."""
        said = run.words
        if not said:  # a refit: of the same tie points
            known = {"left_out": set(run.left_out), "by_hand": set(run.by_hand)}
            off = {k for k, status in enumerate(run.values["tie_points"]["status"], start=1) if status == "disabled"}
            self._fit(run, without(run.values, sorted(off)), known)
            return
        if "-o" in said:
            said[said.index("-o") + 1] = self._dock.output_for(run.target)
        then = {"align": self._dock.aligned, "assess": self._dock.checked}.get(said[0])
        if then is not None:
            self._dock.begin(said, then)

    # --- the history --------------------------------------------------------------------------------------------------

    def show_run(self, run: Run) -> None:
        """A result that was there before, in the panel and on the map."""
        if not self._dock.job.running:
            self._dock.history.bring_up(run)
            self._dock.view.release()
            self._dock.result.clear()
            self._dock.show_run(run)

    def compare(self, one: Run, other: Run) -> None:
        """Two results: their figures beside each other, and swipe, flicker and checkerboard between them."""
        self.show_run(other)
        self.list.show_comparison(one, other)
        if one.shown is not None and one.shown.aligned:
            self._dock.view.other = one
            self._dock.result.compare_also_with(one.name, OTHER)

    def open_in_processing(self) -> None:
        """The dialog of the algorithm that does what the last result is of."""
        last = self._last()
        if last is None:
            return
        said = last.words or ["align", last.values["tie_points"]["inputs"]["reference"], last.target]
        values = values_of(load_schema(), said)
        if said[0] == "align":
            values["OUTPUT"] = self._dock.output_for(last.target)
        self.dialog = open_dialog(said[0], values)
        if self.dialog is None:
            self._dock.running.logged(
                "warning", tr("Processing is switched off (Plugins ▸ Manage and Install Plugins).")
            )

    def _last(self) -> Run | None:
        found: Run | None = self._dock.history.last
        return found

    def project_read(self, *_: Any) -> None:
        """What was done in the project that is open."""
        self._dock.history.load()
        last = self._last()
        if last is not None:
            self._dock.show_run(last)
