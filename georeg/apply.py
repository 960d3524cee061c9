"""Put a correction into effect: on the target, and on everything else that shares its wrong frame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS

from georeg.copies import copy_with_transform
from georeg.encoding import encoding_of
from georeg.errors import InputError, OutputError
from georeg.execution import Progress, counted, silent
from georeg.files import check_output, replacing
from georeg.fit import Fit
from georeg.geotiff import write_blocks
from georeg.initial import PIXELS
from georeg.lazily import Lazily
from georeg.options import WriteOptions
from georeg.overlap import footprint
from georeg.pictures import check_format, picture_format, write_picture
from georeg.placement import Placement, corrected_transform
from georeg.raster import Raster, holds_raster, open_raster, open_reference
from georeg.regrid import Regridding, kernels_of
from georeg.uncertainty import Certainty, write_uncertainty

if TYPE_CHECKING:
    from georeg.layers import VectorFile
    from georeg.vectors import Frame

layers, vectors = Lazily("georeg.layers"), Lazily("georeg.vectors")
PathLike = str | os.PathLike[str]
How = Literal["geotransform", "resampled", "regridded", "vertices"]


class Confirmed(Protocol):
    """A result that holds a fit, such as a `georeg.Alignment`."""

    @property
    def fitted(self) -> Fit:
        """Model and tie points."""


def apply(
    result: Fit | Confirmed,
    path: PathLike,
    options: WriteOptions | None = None,
    *,
    target: PathLike | None = None,
    protected: Iterable[str] = (),
    progress: Progress = silent,
) -> How:
    """Write a corrected copy of the target, or of another raster or vector file that shares its wrong frame.

    A translation or affine correction rewrites the geotransform alone, and the CRS of a file that had none, and touches
    no pixel; others, and ``options.resample``, put the pixels on the reference's grid, or, where a fit made by hand names
    no reference, on one of the target's pixel size. So does every correction where the reference is a plain picture;
    ``path`` may then be of a PNG or JPEG. Of a vector file the vertices are moved, see `georeg.vectors.write_vectors`.

    Parameters
    ----------
    result
        An `Alignment`, or a `Fit`, which nothing has proven.
    path
        The corrected copy; of a vector file in the format of its suffix.
    target
        What to correct; by default the raster that was matched.
    protected
        Files that must not be replaced, beside the rasters and the target.

    Returns
    -------
    how
        ``"geotransform"``, ``"resampled"`` onto the reference's grid, ``"regridded"`` where there is no reference, or, of a
        vector file, ``"vertices"``.

    Raises
    ------
    InputError
        ``target`` cannot be used, or ``path`` is of a format that it cannot be written in.
    OutputError
        The output exists, is an input, or cannot be written. Nothing is left under its name.
    """
    scene = _open_scene(result)
    job = _Job(scene, scene.open(target), os.fspath(path), options or WriteOptions())
    job.check(protected)
    return job.write(progress)


def apply_all(
    result: Fit | Confirmed,
    folder: PathLike,
    targets: Sequence[PathLike],
    options: WriteOptions | None = None,
    *,
    protected: Iterable[str] = (),
    progress: Progress = silent,
) -> dict[str, How]:
    """Correct several files of one acquisition, each into a file of its own name in ``folder``, which is made if need be.

    Rasters that are no GeoTIFFs get the suffix ``.tif``. All outputs are checked before the first is written; each is
    then whole or absent. Everything else is as in `apply`.

    Returns
    -------
    how
        What was done, by the path of each output.

    Raises
    ------
    InputError
        A target cannot be used.
    OutputError
        Two targets have one name, or an output exists, is an input, or cannot be written.
    """
    options, folder = options or WriteOptions(), os.fspath(folder)
    if options.uncertainty is not None:
        raise InputError(f"--uncertainty is of one target, {len(targets)} were given; run it for one of them")
    scene = _open_scene(result)
    jobs = [_Job(scene, source, os.path.join(folder, _name(source)), options) for source in map(scene.open, targets)]
    with _folder(folder):
        _check_names(jobs)
        for job in jobs:
            job.check([*protected, *(other.source.path for other in jobs)])
        done = (job.write(progress) for job in jobs)
        return dict(zip((job.path for job in jobs), counted(done, len(jobs), "targets", progress), strict=True))


@dataclass(frozen=True)
class _Scene:
    """A correction, and what its result tells of the rasters that it was found with."""

    fitted: Fit
    crs: CRS
    """Working CRS."""
    reference: Raster | None
    """None where it is not there, and not needed to place the target."""

    @property
    def plain(self) -> bool:
        """True where the reference has no place on Earth."""
        return self.crs == PIXELS

    def open(self, target: PathLike | None) -> Raster | VectorFile:
        """Describe a raster or vector file, by default the target that was matched."""
        path = os.fspath(target or self.fitted.points.inputs.target)
        if not path:
            raise InputError("these tie points name no target; give the file to correct after the result")
        if not holds_raster(path) and layers.holds_layers(path):
            opened: VectorFile = layers.open_vectors(path)
            return opened
        return self._open_raster(path)

    def _open_raster(self, path: str) -> Raster:
        inputs = self.fitted.points.inputs
        return open_raster(path, nodata=inputs.tgt_nodata, initial=inputs.initial, reference=self.reference)

    def frame(self) -> Frame:
        """The frame that vectors drawn on the target are in."""
        points, pixels = self.fitted.points, None
        if points.inputs.initial in ("center", "none"):
            target = self._open_raster(points.inputs.target)
            pixels = (target.crs, target.transform)
        frame: Frame = vectors.Frame(self.fitted.model, self.crs, points.gsd, pixels)
        return frame

    def grid(self, placement: Placement) -> GeoBox:
        """To resample onto: the reference's, or one of the raster's own pixel size where there is no reference."""
        inputs = self.fitted.points.inputs
        if self.reference is None and not inputs.reference:
            return _own_grid(placement)
        reference = self.reference or open_reference(inputs.reference)
        return GeoBox(reference.shape, reference.transform, reference.crs.to_wkt())


@dataclass(frozen=True)
class _Job:
    """One file to correct."""

    scene: _Scene
    source: Raster | VectorFile
    path: str
    """Of the output."""
    options: WriteOptions

    def check(self, more_inputs: Iterable[str] = ()) -> None:
        """Raise for whatever can be known to fail before anything is written."""
        if not isinstance(self.source, Raster):
            layers.driver_for(self.source, self.path)
            vectors.check_layers(self.source, self.scene.frame())
            if self.options.uncertainty is not None:
                raise InputError(f"--uncertainty is of rasters, {self.source.path} holds vectors; leave it out")
        else:
            check_format(self.path, self.scene.plain)
        protected = [*self._protected(), *more_inputs]
        check_output(self.path, protected, overwrite=self.options.overwrite)
        if self.options.uncertainty is not None:
            check_output(self.options.uncertainty, [*protected, self.path], overwrite=self.options.overwrite)

    def _protected(self) -> list[str]:
        inputs, reference = self.scene.fitted.points.inputs, self.scene.reference
        of_reference = reference.files if reference else ()
        return [inputs.reference, inputs.target, self.source.path, *self.source.files, *of_reference]

    def write(self, progress: Progress) -> How:
        if not isinstance(self.source, Raster):
            vectors.write_vectors(
                self.source,
                self.scene.frame(),
                self.path,
                protected=self._protected(),
                overwrite=self.options.overwrite,
                progress=progress,
            )
            return "vertices"
        placement = Placement(self.source, self.scene.crs, self.scene.fitted.model)
        plain = self.scene.plain or self.options.resample
        transform = None if plain else corrected_transform(placement)
        if transform is None:
            grid = self.scene.grid(placement)
            with _uncertainty(Certainty(placement, grid, resampled=True), self.options, progress):
                _resample(placement, grid, self.path, self.options, progress)
            return "resampled" if self.scene.fitted.points.inputs.reference else "regridded"
        grid = GeoBox(self.source.shape, transform, self.source.crs.to_wkt())
        with _uncertainty(Certainty(placement, grid, resampled=False), self.options, progress):
            progress("write", 0, 1)
            copy_with_transform(self.source, transform, self.path)
            progress("write", 1, 1)
        return "geotransform"


def _open_scene(result: Fit | Confirmed) -> _Scene:
    fitted = result if isinstance(result, Fit) else result.fitted
    inputs, crs = fitted.points.inputs, CRS.from_wkt(fitted.points.crs)
    needed = crs == PIXELS or inputs.initial not in ("auto", "geotransform")
    there = needed or os.path.exists(inputs.reference)
    return _Scene(fitted, crs, open_reference(inputs.reference) if there else None)


def _name(source: Raster | VectorFile) -> str:
    """Of the output in a folder."""
    stem, suffix = os.path.splitext(source.name)
    geotiff = isinstance(source, Raster) and suffix.lower() not in (".tif", ".tiff")
    return stem + ".tif" if geotiff else source.name


def _check_names(jobs: Sequence[_Job]) -> None:
    names = [os.path.basename(job.path) for job in jobs]
    for name in names:
        if names.count(name) > 1:
            raise OutputError(f"{names.count(name)} targets would be written as {name}; give them in separate calls")


@contextmanager
def _folder(path: str) -> Iterator[None]:
    """A folder that is there; if it was made and nothing is put in it, it goes again."""
    new = not os.path.isdir(path)
    try:
        if new:
            os.mkdir(path)
    except OSError as exc:
        raise OutputError(
            f"the folder {path} cannot be made: {(exc.strerror or str(exc)).lower()}; several targets need a folder to be "
            "written to"
        ) from exc
    try:
        yield
    finally:
        if new:
            with suppress(OSError):  # something is in it
                os.rmdir(path)


@contextmanager
def _uncertainty(certainty: Certainty, options: WriteOptions, progress: Progress) -> Iterator[None]:
    """The uncertainty is written before what it is of, and gets its name after: the failure of one leaves neither."""
    if options.uncertainty is None:
        yield
        return
    with replacing(options.uncertainty) as temporary:
        write_uncertainty(certainty, temporary, progress=progress)
        yield


def _resample(placement: Placement, grid: GeoBox, path: str, options: WriteOptions, progress: Progress) -> None:
    raster = placement.raster
    kernels = kernels_of(raster.dtypes, raster.classes)
    if options.resampling != "auto":
        kernels = (options.resampling,) * raster.count
    picture = picture_format(path) is not None
    encoding = replace(encoding_of(raster), nodata=None) if picture else encoding_of(raster)
    write = write_picture if picture else write_blocks
    with Regridding(placement, grid, kernels, encoding).running(progress) as blocks:
        write(raster, grid, encoding, blocks, path)


def _own_grid(placement: Placement) -> GeoBox:
    """Upright in the working CRS, about the corrected raster, with pixels of the size that its own have on the average."""
    outline, (height, width) = footprint(placement), placement.raster.shape
    gsd = float(np.sqrt(outline.area / (height * width)))
    left, bottom, right, top = outline.bounds
    shape = (int(np.ceil((top - bottom) / gsd)), int(np.ceil((right - left) / gsd)))
    return GeoBox(shape, Affine(gsd, 0, left, 0, -gsd, top), placement.crs.to_wkt())
