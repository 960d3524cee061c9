"""The algorithms of Processing: each is one verb of georeg."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
)

from .algorithm_base import OUTPUT, REFERENCE, TARGET, GeoregAlgorithm
from .checks import path_of, same_file
from .compat import RASTERS
from .outputs import scenes_table

POINTS, RESULT, TARGETS, SUMMARY = "POINTS", "RESULT", "TARGETS", "SUMMARY"
MORE, FOLDER = "MORE", "FOLDER"
_JSON, _CSV = "JSON (*.json)", "CSV (*.csv)"
_REFERENCE_BANDS = {"REF_BANDS": REFERENCE}
_BANDS = {"REF_BANDS": REFERENCE, "TGT_BANDS": TARGET}


class _OfTwoRasters(GeoregAlgorithm):
    """Begins with a reference and a target."""

    BANDS_OF: Mapping[str, str] = _BANDS

    def checkParameterValues(self, given: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """Say before the job what can be seen without it."""
        fine, problem = super().checkParameterValues(given, context)
        if fine:
            try:
                problem = self.pair_problem(given, context)
            except QgsProcessingException as exc:
                problem = str(exc)
        return not problem, problem

    def define_pair(self) -> None:
        """Add both."""
        self.addParameter(QgsProcessingParameterRasterLayer(REFERENCE, self.tr("Reference (stays)")))
        self.addParameter(QgsProcessingParameterRasterLayer(TARGET, self.tr("Target (moves)")))

    def pair_words(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[str]:
        """Their files."""
        return [self.raster_path(given, name, context) for name in (REFERENCE, TARGET)]


class Align(_OfTwoRasters):
    """All stages at once."""

    VERB = "align"
    TITLE = "Align a raster to a reference"
    HELP = (
        "Puts the target where the georeferenced reference says it belongs, proves it on check points, and refuses where it "
        "cannot. The target itself is never changed. Where a geotransform holds the correction it alone is rewritten in a copy, "
        "pixels untouched; else the copy is resampled, once.\n\n"
        "Rasters may differ in CRS, pixel size, type and sensor, and the target may be turned and scaled. RMSE and CE90 are of "
        "check points, which the correction was not fitted to. The result, a JSON file, corrects other files of the same scene "
        "by “Apply a correction”."
    )

    def define(self) -> None:
        """Two rasters, and what is written."""
        self.define_pair()
        self.addParameter(QgsProcessingParameterRasterDestination(OUTPUT, self.tr("Aligned")))
        self.add_file_output(RESULT, "Result, for other files of the scene", _JSON, by_default=False)

    def job(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[str]:
        """Files to read and to write."""
        self._result = self.own_file(given, RESULT, context)
        return [*self.pair_words(given, context), "-o", self.file_for(given, OUTPUT, context)]

    def finish(self, values: Mapping[str, Any]) -> None:
        """The result, where it was asked for."""
        if self._result:
            write_whole(self._result, json.dumps(values, indent=1) + "\n")


class Match(_OfTwoRasters):
    """Tie points."""

    VERB = "match"
    TITLE = "Match tie points"
    HELP = (
        "Finds the same ground in two rasters: tie points, each with its covariance, in a JSON file for “Fit a correction”. "
        "Points that were rejected stay in it with their reason."
    )

    def define(self) -> None:
        """Two rasters and the file of tie points."""
        self.define_pair()
        self.add_file_output(OUTPUT, "Tie points", _JSON, by_default=True, optional=False)

    def job(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[str]:
        """Files to read and to write."""
        return [*self.pair_words(given, context), "-o", self.file_for(given, OUTPUT, context)]


class Fit(_OfTwoRasters):
    """A correction from tie points."""

    VERB = "fit"
    TITLE = "Fit a correction to tie points"
    HELP = (
        "Fits the simplest correction that withheld tie points do not improve on. Tie points are those of “Match tie points”, or "
        "a .points or .csv file made by hand in the Georeferencer, for which target and reference are named, too. A fit proves "
        "nothing yet: “Assess” does."
    )
    BANDS_OF: Mapping[str, str] = {}

    def define(self) -> None:
        """Tie points and the file of the fit."""
        kind = self.tr("Tie points (*.json *.points *.csv);;All files (*)")
        self.addParameter(QgsProcessingParameterFile(POINTS, self.tr("Tie points"), fileFilter=kind))
        self.add_file_output(OUTPUT, "Fit", _JSON, by_default=True, optional=False)

    def checkParameterValues(self, given: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """There is no pair."""
        return GeoregAlgorithm.checkParameterValues(self, given, context)

    def job(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[str]:
        """Files to read and to write."""
        points = os.path.abspath(self.parameterAsFile(given, POINTS, context))
        return [points, "-o", self.file_for(given, OUTPUT, context)]


class Assess(_OfTwoRasters):
    """How well two rasters agree, or a fit proven."""

    VERB = "assess"
    TITLE = "Assess how well two rasters agree"
    HELP = (
        "Measures how well a target lies on a reference, before and after the correction that would be needed, on check points; "
        "changes no raster. Give either the two rasters, or a file of “Fit a correction”, which is proven or refused. The result "
        "is what “Apply a correction” takes."
    )

    def define(self) -> None:
        """Two rasters or a fit, and what is written."""
        both = ((REFERENCE, "Reference (stays)"), (TARGET, "Target (moves)"))
        for name, text in both:
            self.addParameter(QgsProcessingParameterRasterLayer(name, self.tr(text), None, True))
        fit = self.tr("Or a fit")
        self.addParameter(QgsProcessingParameterFile("FIT", fit, extension="json", optional=True))
        self.add_file_output(OUTPUT, "Result", _JSON, by_default=True)

    def checkParameterValues(self, given: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """Also that either is given."""
        n_rasters = sum(bool(given.get(name)) for name in (REFERENCE, TARGET))
        if (n_rasters, bool(given.get("FIT"))) not in ((2, False), (0, True)):
            return False, self.tr("Give either a reference and a target, or a fit.")
        return super().checkParameterValues(given, context)

    def job(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[str]:
        """Files to read and to write."""
        fit = self.parameterAsFile(given, "FIT", context)
        inputs = [os.path.abspath(fit)] if fit else self.pair_words(given, context)
        output = self.file_for(given, OUTPUT, context)
        return [*inputs, "-o", output] if output else inputs


class Apply(_OfTwoRasters):
    """A correction applied to whatever shares it."""

    VERB = "apply"
    TITLE = "Apply a correction"
    HELP = (
        "Corrects a raster by a result of “Align”, “Assess” or, not proven, of “Fit a correction”: by default the raster that "
        "was matched, else another band, mask or product of the same acquisition, which shares its wrong place. More of these "
        "go into a folder, each under its own name."
    )
    BANDS_OF: Mapping[str, str] = {}

    def define(self) -> None:
        """A result, a raster and what is written."""
        self.addParameter(QgsProcessingParameterFile(RESULT, self.tr("Result"), extension="json"))
        text = self.tr("Raster that shares the wrong place; by default the one that was matched")
        self.addParameter(QgsProcessingParameterRasterLayer(TARGET, text, None, True))
        more = self.tr("More rasters that share it")
        self.addParameter(QgsProcessingParameterMultipleLayers(MORE, more, RASTERS, None, True))
        self.addParameter(QgsProcessingParameterRasterDestination(OUTPUT, self.tr("Corrected")))
        folder = self.tr("Folder of the corrected further rasters")
        self.addParameter(QgsProcessingParameterFolderDestination(FOLDER, folder, None, True, False))

    def checkParameterValues(self, given: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """There is no pair; more rasters need a folder."""
        if given.get(MORE) and not given.get(FOLDER):
            return False, self.tr("Name the folder for the further rasters.")
        return GeoregAlgorithm.checkParameterValues(self, given, context)

    def jobs_after(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[list[str]]:
        """Of the further rasters; of one alone the verb wants the file's name."""
        if not given.get(MORE):
            return []
        result = os.path.abspath(self.parameterAsFile(given, RESULT, context))
        try:
            others = [path_of(layer) for layer in self.parameterAsLayerList(given, MORE, context)]
        except ValueError as exc:
            raise QgsProcessingException(str(exc)) from exc
        output = self.file_for(given, FOLDER, context)
        if len(others) == 1:
            os.makedirs(output, exist_ok=True)
            stem, suffix = os.path.splitext(os.path.basename(others[0]))
            made = ".vrt" if self.parameterAsEnumString(given, "FORMAT", context) == "vrt" else ".tif"
            kept = made == ".tif" and suffix.lower() in (".tif", ".tiff")
            output = os.path.join(output, stem + (suffix if kept else made))
        return [[result, *others, "-o", output]]

    def job(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[str]:
        """Files to read and to write."""
        result = os.path.abspath(self.parameterAsFile(given, RESULT, context))
        targets = [self.raster_path(given, TARGET, context)] if given.get(TARGET) else []
        return [result, *targets, "-o", self.file_for(given, OUTPUT, context)]


class Batch(_OfTwoRasters):
    """Many targets, one reference."""

    VERB = "batch"
    TITLE = "Align many rasters to a reference"
    HELP = (
        "Aligns each of many targets by itself, as “Align” would, into a file of its name in a folder. What is refused stops "
        "none of the others: the summary, a table, says why."
    )
    BANDS_OF: Mapping[str, str] = _REFERENCE_BANDS

    def define(self) -> None:
        """A reference, targets, a folder and a table."""
        self.addParameter(QgsProcessingParameterRasterLayer(REFERENCE, self.tr("Reference (stays)")))
        self.addParameter(QgsProcessingParameterMultipleLayers(TARGETS, self.tr("Targets (move)"), RASTERS))
        self.addParameter(QgsProcessingParameterFolderDestination(OUTPUT, self.tr("Folder of the aligned rasters")))
        self.add_file_output(SUMMARY, "Summary", _CSV, by_default=True)

    def checkParameterValues(self, given: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """Say before the job what can be seen without it."""
        fine, problem = GeoregAlgorithm.checkParameterValues(self, given, context)
        if fine:
            try:
                reference, *targets = self._paths(given, context)
            except QgsProcessingException as exc:
                return False, str(exc)
            if any(same_file(reference, target) for target in targets):
                return False, self.tr("The reference is among the targets; leave it out there.")
        return fine, problem

    def _paths(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[str]:
        """Of the reference and all targets."""
        reference = self.raster_path(given, REFERENCE, context)
        try:
            return [reference, *map(path_of, self.parameterAsLayerList(given, TARGETS, context))]
        except ValueError as exc:
            raise QgsProcessingException(str(exc)) from exc

    def job(self, given: Mapping[str, Any], context: QgsProcessingContext) -> list[str]:
        """Files to read and to write."""
        self._summary = self.own_file(given, SUMMARY, context)
        return [*self._paths(given, context), "-o", self.file_for(given, OUTPUT, context)]

    def finish(self, values: Mapping[str, Any]) -> None:
        """The table, where it was asked for."""
        if self._summary:
            write_whole(self._summary, scenes_table(values))


def write_whole(path: str, text: str) -> None:
    """Write a file that has its name only once it is complete."""
    part = f"{path}.{os.getpid()}.part"
    try:
        with open(part, "x", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(part, path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise QgsProcessingException(f"{path} cannot be written: {exc.strerror}") from exc
