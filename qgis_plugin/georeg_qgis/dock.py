"""The panel of georeg: one dock, in which a pair is chosen, aligned and judged. Nothing in it waits for georeg."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from typing import Any, Callable, Optional

from qgis.core import QgsCoordinateReferenceSystem, QgsProject
from qgis.gui import QgsDockWidget
from qgis.PyQt.QtCore import Qt, QUrl
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import QApplication, QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from .canvas_view import CanvasView
from .figures import Tie, checked, refusal, ties, verdict, without
from .history import History, Run
from .job import Job
from .panel_inputs import InputsPanel
from .panel_options import OptionsPanel
from .panel_result import ResultPanel
from .panel_run import RunPanel
from .params import in_labels, load_schema
from .settings import PAGE
from .undo_box import ask

Outcome = Optional[dict[str, Any]]


class GeoregDock(QgsDockWidget):
    """Inputs, options, the buttons that run georeg, and results.

    ``job`` runs georeg; a `Job` by default. Tests give one of their own with the same signals.
    """

    def __init__(self, iface: Any, parent: QWidget | None = None, job: Any | None = None) -> None:
        super().__init__("georeg", parent)
        self.setObjectName("GeoregDock")
        self._iface = iface
        self._schema = load_schema()
        self._folder = tempfile.mkdtemp(prefix="georeg-panel-")
        self._ties: list[Tie] = []
        self._commands: list[str] = []
        self._outcome: Outcome = None
        self._then: Callable[[dict[str, Any]], None] = lambda _: None
        self.inputs, self.options, self.running, self.result = InputsPanel(), OptionsPanel(), RunPanel(), ResultPanel()
        self.view = CanvasView(iface.mapCanvas(), self)
        self.history = History()
        self.job = job if job is not None else Job(self)
        self._lay_out()
        self._connect()
        self._pair_changed()

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        for part in (self.inputs, self.options, self.running, self.result, self.running.details):
            part.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
            column.addWidget(part)
        column.addStretch(1)
        scrolled = QScrollArea()
        scrolled.setWidgetResizable(True)
        scrolled.setFrameShape(QFrame.Shape.NoFrame)
        scrolled.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scrolled.setWidget(inside)
        self.setWidget(scrolled)
        self.setMinimumWidth(340)

    def _connect(self) -> None:
        self.inputs.changed.connect(self._other_pair)
        run, result, job = self.running, self.result, self.job
        run.align_asked.connect(self.align)
        run.check_asked.connect(self.check)
        run.cancel_asked.connect(job.cancel)
        result.swipe_toggled.connect(self.view.compare.swipe)
        result.flicker.connect(self.view.compare.flicker)
        result.compared.connect(self.view.compare_with)
        result.dots_toggled.connect(self.view.show_dots)
        result.worst_asked.connect(lambda: self.view.zoom_to_worst(self._ties))
        result.tie_chosen.connect(self.view.zoom_to)
        result.refit_asked.connect(self.refit)
        result.undo_asked.connect(self.ask_undo)
        result.command_asked.connect(self.copy_command)
        result.report_asked.connect(self.open_report)
        result.setup_asked.connect(self.open_setup)
        self.view.compare.swipe_ended.connect(result.stop_comparing)
        job.hello.connect(lambda said: run.logged("info", f"georeg {said.get('georeg')}, Python {said.get('python')}"))
        job.progress.connect(run.progressed)
        job.logged.connect(run.logged)
        job.tiepoints.connect(self._tiepoints)
        job.succeeded.connect(self._succeeded)
        job.failed.connect(self._failed)
        job.ended.connect(self._ended)
        QgsProject.instance().cleared.connect(self._project_cleared)

    # --- what can be asked --------------------------------------------------------------------------------------------

    def align(self) -> None:
        """Align the pair and show what came of it."""
        reference, target = self.inputs.paths()
        output = self.options.output_for(target)
        words = self._words("align")
        if words is not None:
            self._begin(["align", reference, target, "-o", output, *words], self._aligned)

    def check(self) -> None:
        """Measure how well the pair agrees; nothing is written."""
        words = self._words("assess")
        if words is not None:
            self._begin(["assess", *self.inputs.paths(), *words], self._checked)

    def refit(self) -> None:
        """Fit without the tie points that are unticked, prove it anew and apply it; windows are not matched again."""
        last, words = self.history.last, self._words("apply")
        if last is None or words is None:
            return
        points, fit, proven = (os.path.join(self._folder, name) for name in ("points.json", "fit.json", "proven.json"))
        for path in (fit, proven):
            if os.path.exists(path):
                os.remove(path)
        with open(points, "w", encoding="utf-8") as file:
            json.dump(without(last.values, sorted(self.result.model.unticked)), file)
        output = self.options.output_for(last.target)
        asked = self.options.form.words("fit")

        def applied(found: dict[str, Any], values: dict[str, Any]) -> None:
            self._aligned({**found, "values": values, "target": last.target})

        def assessed(found: dict[str, Any]) -> None:
            arguments = ["apply", proven, "-o", output, *words]
            self._begin(arguments, lambda done: applied(done, found["values"]), goes_on=True)

        def fitted(_: dict[str, Any]) -> None:
            self._begin(["assess", fit, "-o", proven], assessed, goes_on=True)

        self._begin(["fit", points, "-o", fit, *asked], fitted)

    def ask_undo(self) -> None:
        """Ask whether the last result is to go, and its file with it."""
        if self.history.last is not None:
            ask(self, self.history.last, lambda delete: self.undo(delete=delete))

    def undo(self, *, delete: bool) -> None:
        """Take the last result off the map; the one before it is shown again."""
        self.view.release()
        self.result.clear()
        told = self.history.undo(delete=delete)
        self.running.logged("info", told)
        if self.history.last is not None:
            self._show(self.history.last)
        self.options.show_output(self.inputs.paths()[1])

    def copy_command(self) -> None:
        """Put the command line of the last run on the clipboard."""
        last = self.history.last
        if last is not None:
            QApplication.clipboard().setText("\n".join(last.commands))
            self.running.logged("info", self.tr("The command was copied."))

    def open_report(self) -> None:
        """Make the report of the last result, and open it in the browser."""
        last = self.history.last
        if last is None:
            return
        result = os.path.join(self._folder, "result.json")
        report = os.path.join(self._folder, f"{last.name}.html")
        with open(result, "w", encoding="utf-8") as file:
            json.dump(last.values, file)
        arguments = ["report", result, "-o", report, "--overwrite"]
        self._begin(arguments, lambda _: QDesktopServices.openUrl(QUrl.fromLocalFile(report)), beside=True)

    def open_setup(self) -> None:
        """The page of QGIS's options where the Python of georeg is chosen."""
        self._iface.showOptionsDialog(self._iface.mainWindow(), PAGE)

    def shut(self) -> None:
        """End what runs, and leave nothing on the canvas: the plugin is unloaded. Layers stay, for they are the user's now."""
        QgsProject.instance().cleared.disconnect(self._project_cleared)
        self.job.close()
        self.view.release()
        self.inputs.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- runs ---------------------------------------------------------------------------------------------------------

    def _words(self, verb: str) -> list[str] | None:
        """Words of the options; None where one of them cannot be used, which is then said."""
        try:
            return self.options.words(verb, everywhere=self.inputs.everywhere)
        except ValueError as exc:
            self.result.show_verdict(refusal("usage", str(exc), ""))
            return None

    def _begin(
        self,
        arguments: list[str],
        then: Callable[[dict[str, Any]], None],
        *,
        goes_on: bool = False,
        beside: bool = False,
    ) -> None:
        """Run georeg; ``then`` hears the line of the result. ``beside``: what is shown stays."""
        if self.job.running:
            return
        if not beside and not goes_on:
            self.view.release()
            self.result.clear()
            self._ties = []
        command = shlex.join(["georeg", *arguments])
        self._commands = [*self._commands, command] if goes_on else [command]
        self._then, self._outcome = then, None
        self.running.logged("info", command)
        if not goes_on:
            self.running.set_running(True)
            self.result.setEnabled(False)
        self.job.start(arguments)

    def _tiepoints(self, path: str) -> None:
        """Tie points as they are found, or those of the result. The file is the worker's, and goes with it."""
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            self._ties = ties(text)
        except (OSError, ValueError, KeyError) as exc:
            self.running.logged("warning", f"{path}: {exc}")
            return
        self.view.preview(self._ties, text, self.inputs.reference.currentLayer())

    def _succeeded(self, line: dict[str, Any]) -> None:
        self._outcome = line

    def _failed(self, code: str, message: str, hint: str) -> None:
        self.running.logged("warning" if code == "cancelled" else "error", f"{message} {hint}".strip())
        told = [in_labels(text, self._schema) for text in (message, hint)]
        self.result.show_verdict(refusal(code, *told), setup=code == "setup")

    def _ended(self) -> None:
        """Idle again, unless another step follows."""
        outcome, then = self._outcome, self._then
        self._outcome = None
        if outcome is not None:
            then(outcome)
        if not self.job.running:
            self.running.set_running(False)
            self.result.setEnabled(True)
            if outcome is None and self.history.last is not None:
                self.result.show_undo()  # of the result before, which is still on the map
            self.view.end_preview()
            self._pair_changed()

    # --- results ------------------------------------------------------------------------------------------------------

    def _aligned(self, line: dict[str, Any]) -> None:
        self._keep(line, str(line.get("output") or ""))

    def _checked(self, line: dict[str, Any]) -> None:
        self._keep(line, "")

    def _keep(self, line: dict[str, Any], output: str) -> None:
        """Remember a result, put it on the map and judge it."""
        values = line["values"]
        inputs = values["tie_points"]["inputs"]
        target = str(line.get("target") or inputs["target"])
        run = Run(
            name=os.path.splitext(os.path.basename(output or target))[0],
            target=target,
            output=output,
            commands=list(self._commands),
            values=values,
            ties=list(self._ties),
        )
        crs = QgsCoordinateReferenceSystem.fromWkt(values["tie_points"]["crs"])
        pair = (self.inputs.reference.currentLayer(), self.inputs.target.currentLayer()) if output else (None, None)
        run.put_on_map(crs, *pair)
        self.history.add(run)
        self._show(run)

    def _show(self, run: Run) -> None:
        self._ties = run.ties
        values = run.values
        self.result.show_verdict(verdict(values) if run.output else checked(values))
        self.result.show_figures(values, run.ties)
        self.result.show_ties(run.ties, values["unit"], values["after"]["gsd"])
        self.result.show_actions(aligned=bool(run.output))
        self.view.show_run(run, values["after"]["gsd"], str(self.result.against.currentData()))

    def _project_cleared(self) -> None:
        """Another project: results of the one before are not in it."""
        self.view.release()
        self.history = History()
        self.result.clear()

    def _other_pair(self) -> None:
        """What was said of a run without a result was of another pair."""
        if not self.job.running and self.history.last is None:
            self.result.clear()
        self._pair_changed()

    def _pair_changed(self) -> None:
        self.options.pair_changed(self.inputs.pair)
        self.options.show_output(self.inputs.paths()[1])
        self.running.set_ready(self.inputs.pair.ready)
