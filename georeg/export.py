"""Tie points and corrections for other programs; the suffix of the file says for which."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyproj import CRS

from georeg.alignment import Alignment, PathLike
from georeg.corrections import displacement_grid, gcps, proj_pipeline
from georeg.errors import InputError
from georeg.files import check_output, write_bytes
from georeg.fit import Fit
from georeg.gcps import points_text
from georeg.geotiff import write_grid
from georeg.initial import PIXELS
from georeg.interchange import fit_from_dict, points_from_dict
from georeg.lazily import Lazily
from georeg.models import Model
from georeg.placement import Placement
from georeg.raster import Raster, open_raster, open_reference
from georeg.table import csv_text
from georeg.tie_points import TiePoints
from georeg.vrt import write_vrt

Source = Alignment | Fit | TiePoints
geopackage = Lazily("georeg.geopackage")


@dataclass(frozen=True, eq=False)
class _Job:
    """What is exported, and to where."""

    points: TiePoints
    fitted: Fit | None
    path: str

    @property
    def crs(self) -> CRS:
        return CRS.from_wkt(self.points.crs)

    def model(self) -> Model:
        if self.fitted is None:
            raise InputError(
                f"{self.path} would hold a correction, and tie points alone have none; run georeg fit and export its result"
            )
        return self.fitted.model

    def placement(self) -> Placement:
        model = self.model()
        return Placement(self.target(), self.crs, model)

    def target(self) -> Raster:
        """The raster whose pixels the tie points are of, placed as it was when they were made."""
        inputs = self.points.inputs
        placed_by_it = inputs.initial not in ("auto", "geotransform", "gcps")
        try:
            reference = open_reference(inputs.reference) if placed_by_it or os.path.exists(inputs.reference) else None
            return open_raster(inputs.target, nodata=inputs.tgt_nodata, initial=inputs.initial, reference=reference)
        except InputError as exc:
            raise InputError(f"{os.path.splitext(self.path)[1]} needs the target's pixels, but {exc}") from exc

    def write(self, text: str) -> None:
        write_bytes(text.encode(), self.path)


def export(source: Source, path: PathLike, *, overwrite: bool = False) -> str:
    """Write tie points or the correction for other programs.

    Parameters
    ----------
    source
        An alignment, a fit, or tie points alone, which have no correction.
    path
        Its suffix chooses: ``.gpkg``, ``.geojson``, ``.csv`` or ``.points`` (of QGIS's Georeferencer) for tie points;
        ``.vrt`` (with GCPs), ``.json``, ``.proj`` (a pipeline) or ``.tif`` (a grid of displacements) for the correction.
    overwrite
        Replace the file if it exists.

    Returns
    -------
    what
        What the file holds, for a sentence.

    Raises
    ------
    InputError
        The suffix is none of these, or the source does not have what it needs.
    OutputError
        The file exists, is an input, or cannot be written. Nothing is left under its name.
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in WRITERS:
        raise InputError(f"{path} has no suffix of a format to export to; give a name ending in {', '.join(WRITERS)}")
    fitted = source.fitted if isinstance(source, Alignment) else source
    points = fitted.points if isinstance(fitted, Fit) else fitted
    check_output(path, (points.inputs.reference, points.inputs.target), overwrite=overwrite)
    return WRITERS[suffix](_Job(points, fitted if isinstance(fitted, Fit) else None, path))


def exportable(values: dict[str, Any]) -> Fit | TiePoints:
    """What a JSON file of ``georeg match``, ``fit``, ``assess`` or ``align --json`` holds.

    Raises
    ------
    InputError
        It is none of these.
    """
    return fit_from_dict(values) if "model" in values else points_from_dict(values)


def _geopackage(job: _Job) -> str:
    times = geopackage.write_geopackage(job.points, job.fitted, job.path)
    arrows = "" if times is None else f" and their residuals as arrows, drawn {times:,.6g} times as long"
    return f"{len(job.points)} tie points{arrows}"


def _geojson(job: _Job) -> str:
    job.write(geopackage.geojson_text(job.points, job.fitted))
    return f"{len(job.points)} tie points in WGS 84"


def _csv(job: _Job) -> str:
    job.write(csv_text(job.points, job.fitted))
    return f"{len(job.points)} tie points in {job.crs.name}"


def _points(job: _Job) -> str:
    job.write(points_text(job.points, job.fitted, job.target()))
    return f"{len(job.points)} points for the Georeferencer of QGIS"


def _vrt(job: _Job) -> str:
    placement = job.placement()
    made = gcps(placement)
    write_vrt(placement.raster, made, job.crs, job.path)
    what = f"{placement.raster.name} with {len(made.px)} GCPs on the {placement.model.kind} model"
    return f"{what}; give gdalwarp {made.gdal_option}"


def _json(job: _Job) -> str:
    model = job.model()
    values = {
        "type": "georeg.Correction",
        "maps": "target map xy -> corrected map xy, both in crs",
        "crs": job.points.crs,
        "model": model.to_dict(),
    }
    job.write(json.dumps(values, indent=1) + "\n")
    return f"the {model.kind} model in {job.crs.name}"


def _proj(job: _Job) -> str:
    model = job.model()
    job.write(proj_pipeline(model) + "\n")
    return f"the {model.kind} model as a PROJ pipeline from {job.crs.name} to {job.crs.name}"


def _grid(job: _Job) -> str:
    placement = job.placement()
    grid = displacement_grid(placement, job.points.gsd)
    names = ("easting_offset", "northing_offset")
    write_grid(grid.displacement, grid.transform, None if job.crs == PIXELS else job.points.crs, names, job.path)
    _, rows, cols = grid.displacement.shape
    return f"displacements of the {placement.model.kind} model at {cols} by {rows} nodes in {job.crs.name}"


WRITERS: dict[str, Callable[[_Job], str]] = {
    ".gpkg": _geopackage,
    ".geojson": _geojson,
    ".csv": _csv,
    ".points": _points,
    ".vrt": _vrt,
    ".json": _json,
    ".proj": _proj,
    ".tif": _grid,
}
"""How each format is written, by its suffix."""
