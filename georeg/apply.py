"""Put a correction into effect: on the target, and on everything else that shares its wrong frame."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS

from georeg.correct import Correction, way_of
from georeg.device import check_device
from georeg.errors import InputError, OutputError
from georeg.execution import Progress, counted, silent
from georeg.files import check_output
from georeg.fit import Fit
from georeg.initial import PIXELS
from georeg.lazily import Lazily
from georeg.options import DeviceKind, WriteOptions
from georeg.overlap import footprint
from georeg.pictures import check_format
from georeg.placement import Placement
from georeg.provenance import Confirmed, corrected_before, provenance
from georeg.raster import Raster, holds_raster, open_raster, open_reference
from georeg.remote import current, fetching

if TYPE_CHECKING:
    from georeg.layers import VectorFile
    from georeg.vectors import Frame

layers, vectors = Lazily("georeg.layers"), Lazily("georeg.vectors")
PathLike = str | os.PathLike[str]
How = Literal["geotransform", "in place", "cog", "gcps", "vrt", "resampled", "regridded", "vertices"]
_log = logging.getLogger(__name__)


def apply(
    result: Fit | Confirmed,
    path: PathLike | None,
    options: WriteOptions | None = None,
    *,
    target: PathLike | None = None,
    protected: Iterable[str] = (),
    progress: Progress = silent,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
) -> How:
    """Write a corrected copy of the target, or of another raster or vector file that shares its wrong frame.

    A translation or affine correction rewrites the geotransform alone, and the CRS of a file that had none, and touches
    no pixel; others, and ``options.resample``, put the pixels on the reference's grid, or, where a fit made by hand names
    no reference, on one of the target's pixel size; with ``options.resample`` off they become GCPs. So does every correction
    where the reference is a plain picture; ``path`` may then be of a PNG or JPEG. A ``.vrt`` refers to the target's pixels and
    holds the corrected geotransform or GCPs. Of a vector file the vertices are moved, see `georeg.vectors.write_vectors`.
    What an output was corrected by stands in its metadata domain ``GEOREG``.

    Parameters
    ----------
    result
        An `Alignment`, or a `Fit`, which nothing has proven.
    path
        The corrected copy; of a vector file in the format of its suffix. None with ``options.in_place``.
    target
        What to correct; by default the raster that was matched.
    protected
        Files that must not be replaced, beside the rasters and the target.
    executor
        What computes resampled pixels and uncertainty, as in `georeg.align`; they are written here.
    device
        What interpolates resampled pixels, as in `georeg.align`: the values are the same to the rounding of single precision.

    Returns
    -------
    how
        ``"geotransform"``, ``"in place"``, ``"cog"``, ``"gcps"`` or ``"vrt"``, which change no pixel; ``"resampled"`` onto the
        reference's grid, ``"regridded"`` where there is no reference, or, of a vector file, ``"vertices"``.

    Raises
    ------
    InputError
        ``target`` cannot be used, or ``path`` is of a format that it cannot be written in.
    OutputError
        The output exists, is an input, or cannot be written. Nothing is left under its name.
    ExecutionError
        The workers of ``executor`` are lost.
    """
    check_device(device, executor)
    scene = _open_scene(result)
    options, source = options or WriteOptions(), scene.open(target)
    job = _Job(scene, source, _output(path, source, options), options)
    job.check(protected)
    return job.write(progress, executor, device)


def apply_all(
    result: Fit | Confirmed,
    folder: PathLike | None,
    targets: Sequence[PathLike],
    options: WriteOptions | None = None,
    *,
    protected: Iterable[str] = (),
    progress: Progress = silent,
    executor: Executor | None = None,
    device: DeviceKind = "cpu",
) -> dict[str, How]:
    """Correct several files of one acquisition, each into a file of its own name in ``folder``, which is made if need be, or,
    with ``options.in_place``, where it is.

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
    options = options or WriteOptions()
    check_device(device, executor)
    if options.uncertainty is not None:
        raise InputError(f"--uncertainty is of one target, {len(targets)} were given; run it for one of them")
    scene = _open_scene(result)
    sources = [scene.open(target) for target in targets]
    paths = [None if folder is None else os.path.join(folder, _name(source, options)) for source in sources]
    jobs = [
        _Job(scene, source, _output(path, source, options), options)
        for source, path in zip(sources, paths, strict=True)
    ]
    with nullcontext() if folder is None else made_folder(os.fspath(folder)):
        check_names(job.path for job in jobs)
        for job in jobs:
            job.check([*protected, *(other.source.path for other in jobs)])
        done = (job.write(progress, executor, device) for job in jobs)
        return dict(zip((job.path for job in jobs), counted(done, len(jobs), "targets", progress), strict=True))


@dataclass(frozen=True)
class _Scene:
    """A correction, and what its result tells of the rasters that it was found with."""

    fitted: Fit
    tags: dict[str, str]
    """What an output says of it."""
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
            for name, given in (("uncertainty", self.options.uncertainty), ("in-place", self.options.in_place)):
                if given:
                    raise InputError(f"--{name} is of rasters, {self.source.path} holds vectors; leave it out")
        else:
            check_format(self.path, self.scene.plain)
            self.correction().check()
        protected = [*self._protected(), *more_inputs]
        if not self.options.in_place:
            check_output(self.path, protected, overwrite=self.options.overwrite)
        if self.options.uncertainty is not None:
            check_output(self.options.uncertainty, [*protected, self.path], overwrite=self.options.overwrite)

    def _protected(self) -> list[str]:
        inputs, reference = self.scene.fitted.points.inputs, self.scene.reference
        of_reference = reference.files if reference else ()
        return [inputs.reference, inputs.target, self.source.path, *self.source.files, *of_reference]

    def write(self, progress: Progress, executor: Executor | None, device: DeviceKind) -> How:
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
        with fetching(self.source.path, current(), remote=self.source.remote):
            correction = self.correction()
            before = corrected_before(self.source, correction.tags)
            if before and not self.scene.fitted.model.still:
                _log.warning(before)
            correction.write(progress, executor, device)
        if correction.way == "resampled" and not self.scene.fitted.points.inputs.reference:
            return "regridded"
        return correction.way

    def correction(self) -> Correction:
        """Of a raster."""
        assert isinstance(self.source, Raster)
        placement = Placement(self.source, self.scene.crs, self.scene.fitted.model)
        way, transform = way_of(placement, self.path, self.options, plain=self.scene.plain)
        grid = self.scene.grid(placement) if way == "resampled" else None
        tags = self.scene.tags
        if placement.model.still and self.source.provenance:
            tags = dict(self.source.provenance)  # what moved it once is still what moved it
        return Correction(placement, grid, way, transform, self.path, self.options, tags)


def _open_scene(result: Fit | Confirmed) -> _Scene:
    fitted = result if isinstance(result, Fit) else result.fitted
    inputs, crs = fitted.points.inputs, CRS.from_wkt(fitted.points.crs)
    needed = crs == PIXELS or inputs.initial not in ("auto", "geotransform")
    there = needed or os.path.exists(inputs.reference)
    return _Scene(fitted, provenance(result), crs, open_reference(inputs.reference) if there else None)


def _output(path: PathLike | None, source: Raster | VectorFile, options: WriteOptions) -> str:
    if (path is None) != options.in_place:
        raise InputError("an output and --in-place exclude each other; give one of them")
    return source.path if path is None else os.fspath(path)


def _name(source: Raster | VectorFile, options: WriteOptions) -> str:
    """Of the output in a folder."""
    return output_name(source.name, options) if isinstance(source, Raster) else source.name


def output_name(name: str, options: WriteOptions) -> str:
    """Of the output of a raster in a folder."""
    stem, suffix = os.path.splitext(name)
    if options.format == "vrt":
        return stem + ".vrt"
    return name if suffix.lower() in (".tif", ".tiff") else stem + ".tif"


def check_names(paths: Iterable[str]) -> None:
    """Make sure that no two of the outputs in a folder have one name.

    Raises
    ------
    OutputError
        Two have.
    """
    for name, n in Counter(os.path.basename(os.path.normcase(path)) for path in paths).items():
        if n > 1:
            raise OutputError(f"{n} targets would be written as {name}; give them in separate calls")


@contextmanager
def made_folder(path: str) -> Iterator[None]:
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


def _own_grid(placement: Placement) -> GeoBox:
    """Upright in the working CRS, about the corrected raster, with pixels of the size that its own have on the average."""
    outline, (height, width) = footprint(placement), placement.raster.shape
    gsd = float(np.sqrt(outline.area / (height * width)))
    left, bottom, right, top = outline.bounds
    shape = (int(np.ceil((top - bottom) / gsd)), int(np.ceil((right - left) / gsd)))
    return GeoBox(shape, Affine(gsd, 0, left, 0, -gsd, top), placement.crs.to_wkt())
