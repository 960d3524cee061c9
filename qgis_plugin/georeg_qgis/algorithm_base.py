"""What the algorithms have in common: georeg's options as parameters, and a worker that does the job."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterRasterDestination,
    QgsRasterLayer,
)
from qgis.PyQt.QtGui import QIcon

from .checks import pair_problem, path_of
from .definitions import advanced, definition, value
from .env import check_interpreter
from .i18n import translated
from .outputs import FIGURES, NUMBER, Share, figures
from .params import in_labels, label, load_schema, parameters, words
from .protocol import WorkerError
from .runner import Runner
from .settings_store import interpreter

REFERENCE, TARGET, OUTPUT, OVERWRITE = "REFERENCE", "TARGET", "OUTPUT", "OVERWRITE"
ICON = os.path.join(os.path.dirname(__file__), "icon.svg")
SCHEMA = load_schema()
_STAGES = {
    "coarse": "Seeking the target",
    "match": "Matching",
    "refine": "Matching again",
    "report": "Writing the report",
    "write": "Writing",
    "layers": "Writing layers",
    "scenes": "Targets",
}


class GeoregAlgorithm(QgsProcessingAlgorithm):
    """One verb of georeg. What is read of layers and parameters is read in the main thread, before the job."""

    VERB = ""
    TITLE = ""
    HELP = ""
    BANDS_OF: Mapping[str, str] = {}
    """By parameter of band numbers: the parameter of their raster."""
    OWN_OPTIONS: frozenset[str] = frozenset()
    """Options that the verb makes parameters of by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: list[list[str]] = []
        self._python = ""
        self._files: dict[str, str] = {}

    def tr(self, text: str) -> str:
        """Translated."""
        return translated(text)

    def name(self) -> str:
        """The verb: the last part of the id."""
        return self.VERB

    def displayName(self) -> str:
        """In the toolbox."""
        return self.tr(self.TITLE)

    def icon(self) -> QIcon:
        """Of the plugin."""
        return QIcon(ICON)

    def shortHelpString(self) -> str:
        """Beside the parameters."""
        return self.tr(self.HELP)

    def shortDescription(self) -> str:
        """A tip in the toolbox."""
        return self.tr(self.HELP).split(". ")[0]

    def createInstance(self) -> GeoregAlgorithm:
        """A new one, as QGIS wants for each run."""
        return type(self)()

    def canExecute(self) -> tuple[bool, str]:
        """Whether there is a Python to run georeg in."""
        try:
            check_interpreter(interpreter())
        except WorkerError as exc:
            return False, self.tr("georeg runs in a Python of its own: {problem}").format(problem=str(exc))
        return True, ""

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:
        """Define inputs, outputs and then the options, which are advanced."""
        self.define()
        for parameter in self._options():
            self.addParameter(definition(parameter, self.BANDS_OF.get(parameter.name)))
        overwrite = QgsProcessingParameterBoolean(OVERWRITE, self.tr(label("overwrite")), False)
        self.addParameter(advanced(overwrite, self.tr("Else a job whose output exists is refused.")))
        for name, (kind, text) in FIGURES[self.VERB].items():
            output = QgsProcessingOutputNumber if kind == NUMBER else QgsProcessingOutputString
            self.addOutput(output(name, self.tr(text)))

    def define(self) -> None:
        """Add the parameters that are no options."""
        raise NotImplementedError

    def job(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[str]:
        """Words of the command line for inputs and outputs.

        Raises
        ------
        QgsProcessingException
            A layer or a parameter cannot be used.
        """
        raise NotImplementedError

    def jobs_after(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[list[str]]:
        """The same of further jobs that are done after it, with the same options."""
        return []

    def finish(self, values: Mapping[str, Any]) -> None:
        """Write what the worker does not, once the job is done."""

    def file_for(self, given: Mapping[str, Any], name: str, context: QgsProcessingContext) -> str:
        """The file or folder that a parameter has written, the same each time; empty where it was left alone."""
        if name not in self._files:
            if given.get(name) in (None, ""):
                return ""
            if isinstance(self.parameterDefinition(name), QgsProcessingParameterRasterDestination):
                path = self.parameterAsOutputLayer(given, name, context)
            else:
                path = self.parameterAsFileOutput(given, name, context)
            self._files[name] = os.path.abspath(path)
        return self._files[name]

    def in_labels(self, text: str) -> str:
        """What georeg says, with options called as they are on screen."""
        return in_labels(text, SCHEMA)

    def own_file(self, given: Mapping[str, Any], name: str, context: QgsProcessingContext) -> str:
        """As `file_for`, of a file that the worker does not write.

        Raises
        ------
        QgsProcessingException
            It exists, and was not to be replaced.
        """
        path = self.file_for(given, name, context)
        if path and os.path.exists(path) and not self.parameterAsBool(given, OVERWRITE, context):
            text = self.tr("{path} exists; give another name or tick “{label}”")
            raise QgsProcessingException(text.format(path=path, label=self.tr(label("overwrite"))))
        return path

    def add_file_output(self, name: str, text: str, kind: str, *, by_default: bool, optional: bool = True) -> None:
        """Add a parameter for a file to write, such as ``JSON (*.json)``."""
        self.addParameter(QgsProcessingParameterFileDestination(name, self.tr(text), kind, None, optional, by_default))

    def _options(self) -> list[Any]:
        known = parameters(SCHEMA, self.VERB)
        return [parameter for parameter in known if parameter.name not in self.OWN_OPTIONS | {OVERWRITE}]

    def raster_path(self, given: Mapping[str, Any], name: str, context: QgsProcessingContext) -> str:
        """The file of a raster parameter."""
        layer = self.parameterAsRasterLayer(given, name, context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(given, name))
        try:
            return path_of(layer)
        except ValueError as exc:
            raise QgsProcessingException(str(exc)) from exc

    def pair_problem(self, given: Mapping[str, Any], context: QgsProcessingContext) -> str:
        """Why reference and target cannot be aligned; empty where nothing is known against it."""
        layers = [self.parameterAsRasterLayer(given, name, context) for name in (REFERENCE, TARGET)]
        if not all(isinstance(layer, QgsRasterLayer) for layer in layers):
            return ""  # QGIS says so
        known = {parameter.name: parameter for parameter in parameters(SCHEMA, self.VERB)}
        initial, shift_m = (value(self, known[name], given, context) for name in ("INITIAL", "MAX_SHIFT_M"))
        return pair_problem(*layers, initial or "auto", shift_m, context.transformContext())

    def prepareAlgorithm(
        self, given: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Read the parameters, which is not for the thread of the job."""
        options = {each.name: value(self, each, given, context) for each in self._options()}
        overwrite = ["--overwrite"] if self.parameterAsBool(given, OVERWRITE, context) else []
        first = self.job(given, context) + words(self._options(), options)
        shared = [parameter for parameter in self._options() if parameter.kind not in ("output", "html", "png")]
        after = [[*said, *words(shared, options)] for said in self.jobs_after(given, context)]
        self._jobs, self._python = [[self.VERB, *said, *overwrite] for said in (first, *after)], interpreter()
        return True

    def processAlgorithm(
        self, given: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Have the worker do the job."""
        heard = _Heard(self, feedback)
        try:
            result, *_ = [Runner(self._python).run(job, heard.line, feedback.isCanceled) for job in self._jobs]
        except WorkerError as exc:
            text = self.in_labels(str(exc))
            raise QgsProcessingException(text[:1].upper() + text[1:]) from exc
        values: dict[str, Any] = result["values"]
        for warning in values.get("warnings", ()):
            heard.warn(str(warning))
        self.finish(values)
        return {**self._files, **figures(self.VERB, values)}


class _Heard:
    """Passes the worker's lines on to the feedback of Processing."""

    def __init__(self, algorithm: GeoregAlgorithm, feedback: QgsProcessingFeedback) -> None:
        self._algorithm, self._feedback, self._share = algorithm, feedback, Share()
        self._warned: set[str] = set()

    def line(self, said: dict[str, Any]) -> None:
        """One of them."""
        if said["type"] == "hello":
            self._feedback.pushInfo(f"georeg {said.get('georeg', '')}, Python {said.get('python', '')}")
        elif said["type"] == "progress":
            stage, done, total = said["stage"], said["done"], said["total"]
            self._feedback.setProgress(100 * self._share.at(stage, done, total))
            self._feedback.setProgressText(f"{self._algorithm.tr(_STAGES.get(stage, stage))}: {done} / {total}")
        elif said["type"] == "log" and said.get("level") in ("warning", "error"):
            self.warn(str(said.get("message", "")))
        elif said["type"] == "log":
            self._feedback.pushInfo(self._algorithm.in_labels(str(said.get("message", ""))))

    def warn(self, text: str) -> None:
        """Say it once."""
        if text not in self._warned:
            self._warned.add(text)
            self._feedback.pushWarning(self._algorithm.in_labels(text))
