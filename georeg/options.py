"""Every option of georeg, once: Python, command line and panels are built from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

ModelKind = Literal["auto", "translation", "similarity", "affine", "homography", "polynomial2", "polynomial3", "local"]
PresetKind = Literal["default", "fast"]
MatcherKind = Literal["auto", "phase", "features", "structure"]
DetectorKind = Literal["sift", "akaze", "orb"]
PreprocessKind = Literal["none", "clahe", "gaussian", "log"]
CombineKind = Literal["none", "mean", "difference"]
KernelKind = Literal["auto", "nearest", "bilinear", "cubic", "lanczos"]
FormatKind = Literal["auto", "gtiff", "cog", "vrt"]
InitialKind = Literal["auto", "geotransform", "gcps", "center", "none"]
DeviceKind = Literal["cpu", "cuda", "auto"]
RigKind = Literal["affine", "homography", "polynomial2", "polynomial3"]


def option(default: Any, doc: str, *, metavar: str | None = None) -> Any:
    """A dataclass field that carries its own documentation, and what stands for its value in a usage line."""
    return field(default=default, metadata={"doc": doc, "metavar": metavar})


@dataclass(frozen=True)
class InputOptions:
    """Which pixels of the two rasters are compared."""

    ref_bands: tuple[int, ...] = option((1,), "band numbers of the reference to match, 1-based, such as 1 or 1,2,3")
    tgt_bands: tuple[int, ...] = option((1,), "band numbers of the target to match, as many as of the reference")
    ref_nodata: float | None = option(None, "pixel value of the reference to ignore, instead of its own mask")
    tgt_nodata: float | None = option(None, "pixel value of the target to ignore, instead of its own mask")
    initial: InitialKind = option(
        "auto",
        "where the target lies at first: by its geotransform; by its gcps; with its center on the reference's and pixels "
        "as large; or none, nothing is known. auto is the first of geotransform, gcps and none that its file allows",
    )
    gcp: str | None = option(
        None,
        "points made by hand that say where the target lies, a .points or .csv file of QGIS: the only place that is tried",
    )
    gcp_sigma_px: float = option(
        1.0, "standard deviation of the points of --gcp along x and along y, pixels of the target"
    )
    pin: bool = option(False, "also keep the points of --gcp in the fit, weighted by --gcp-sigma-px")
    area: str | None = option(
        None,
        "polygons of a vector file, in any CRS, else in the reference's: tie points are sought only within, where the reference "
        "shows it",
    )
    ref_mask: str | None = option(
        None,
        "what of the reference is not to be matched, such as clouds, water or snow: polygons, or a raster that is not zero there",
    )
    tgt_mask: str | None = option(
        None, "the same of the target, which lies where the target's own georeferencing has it, uncorrected"
    )


@dataclass(frozen=True)
class MatchOptions:
    """How tie points are sought."""

    window_px: int | None = option(
        None, "side of the matched windows in working pixels, a multiple of 8; by default chosen"
    )
    spacing_px: int | None = option(None, "distance of the windows in working pixels; by default from --max-points")
    max_points: int = option(500, "about how many windows to try where --spacing-px is not given")
    patches: int | None = option(
        None,
        "match only in about this many patches of ground, spread evenly and each about as large as a block of the files: for "
        "rasters that are slow to read; by default everywhere, but in 16 patches of remote rasters",
    )
    max_shift_m: float | None = option(
        None, "largest shift to accept, metres; by default as far as the smaller raster is long"
    )
    matcher: MatcherKind = option(
        "auto",
        "phase seeks the windows of a lattice by the phase of their gradients, features those about keypoints, structure by "
        "the edges alone, for other sensors and maps; auto is phase, then features, and structure where only that finds it",
    )
    detector: DetectorKind = option("sift", "keypoints of --matcher features; OpenCV 5 has no akaze")
    preprocess: PreprocessKind = option(
        "none", "done to both rasters before: clahe evens out local contrast, gaussian smooths, log suits SAR intensity"
    )
    combine: CombineKind = option(
        "none",
        "bands into one: their mean, or difference, (b1 - b2) / (b1 + b2) of two; none matches all of them at once",
    )
    false_match_rate: float = option(0.001, "share of windows that do not correspond which may pass as tie points")
    preset: PresetKind = option(
        "default",
        "fast matches by phase correlation alone: quicker, and several times less exact; default refines each window by least "
        "squares",
    )
    threads: int | None = option(None, "threads to use; by default every processor")


@dataclass(frozen=True)
class FitOptions:
    """Which model is fitted."""

    model: ModelKind = option(
        "auto", "auto takes the simplest that withheld points do not improve on; local is a smooth field"
    )
    seed: int = option(0, "seed of the random sampling; the same seed gives the same bytes")


@dataclass(frozen=True)
class HandOptions:
    """Tie points made by hand, such as a .points file of QGIS."""

    target: str | None = option(None, "the raster to correct, in which they were clicked")
    reference: str | None = option(
        None, "the trusted raster; needed where they name no CRS, or the target has no place"
    )
    sigma_px: float = option(1.0, "standard deviation of a click along x and along y, pixels of the target")


@dataclass(frozen=True)
class PlaceOptions:
    """Where one more tie point is measured."""

    ref_xy: tuple[float, float] | None = option(
        None, "where the feature is in the reference, map units of the working CRS; the peak near there is taken"
    )
    tgt_xy: tuple[float, float] | None = option(
        None, "where it is in the target as it is georeferenced; by default where the correction found so far has it"
    )
    replaces: int | None = option(
        None, "number of a tie point, from 1, that the new one takes the place of; by default it is one more"
    )


@dataclass(frozen=True)
class StacOptions:
    """What an Item of a corrected raster is about."""

    corrected: str | None = option(None, "the corrected raster, as georeg align or apply wrote it")
    asset: str | None = option(
        None,
        "asset of the Item that was corrected: its key, or the name, common name or role that it alone has; by default the only "
        "one that is data",
        metavar="NAME",
    )


@dataclass(frozen=True)
class WriteOptions:
    """How the result is written."""

    resample: bool | None = option(
        None,
        "put the result on the reference's grid, or never: by default only a correction that no geotransform holds, which "
        "without resampling becomes GCPs",
    )
    resampling: KernelKind = option(
        "auto", "interpolation: auto is nearest for classes and masks, else cubic (B-spline); lanczos has 3 lobes"
    )
    format: FormatKind = option(
        "auto",
        "gtiff, cog (cloud-optimised) or vrt (refers to the target's pixels); auto is by the suffix, and a COG stays one",
    )
    co: tuple[str, ...] = option(
        (), "creation option of GDAL's driver for resampled output, NAME=VALUE; may be repeated"
    )
    in_place: bool = option(
        False, "rewrite the geotransform in the target itself, which georeg undo takes back to the byte"
    )
    overwrite: bool = option(False, "replace the output file if it exists")
    uncertainty: str | None = option(
        None,
        "also write a GeoTIFF of the standard deviation of each pixel's corrected position, sigma_x and sigma_y in map units",
    )


@dataclass(frozen=True)
class BesideOptions:
    """What else is written, beside the result."""

    picture: str | None = option(None, "also draw a checkerboard of both, before and after", metavar="PNG")
    plots: str | None = option(None, "also draw plots of the residuals, PNG; needs georeg[plot]", metavar="FOLDER")
    report: str | None = option(None, "also write a report, one HTML file; of a refused pair, too")
    false_change: str | None = option(
        None,
        "also write a GeoTIFF of the difference that misregistration alone makes once the target is corrected, and of the "
        "one observed, in grey values of the reference: what does not exceed the first is no evidence of change",
    )
    overwrite: bool = option(False, "replace the output file if it exists")


@dataclass(frozen=True)
class LimitOptions:
    """Limits that end the run with exit code 3 and no output when exceeded."""

    max_ce90: str | None = option(
        None,
        "largest CE90 of the check points after correction, in working pixels or metres: 0.3px, 3m",
        metavar="LENGTH",
    )
    max_rmse: str | None = option(
        None, "largest RMSE of the check points after correction, in working pixels or metres", metavar="LENGTH"
    )
    max_rotation_deg: float | None = option(None, "largest rotation of the target that may be right, degrees")
    max_scale: float = option(5.0, "largest factor by which the target may have to grow or shrink")
    max_stretch: float = option(1.5, "largest ratio of the scales along two directions, by stretch or shear")
    min_overlap: float = option(0.0, "least share of the smaller raster that must lie on the other once corrected")


@dataclass(frozen=True)
class BatchOptions:
    """How many targets are aligned to one reference."""

    cache_mb: int = option(
        256,
        "megabytes of decoded pixels of the reference that are kept from one target to the next; where all that is used fits, "
        "each part of its file is decoded once. Its means on larger pixels, some ten megabytes, come on top",
    )
    manifest: str | None = option(
        None,
        "note what became of each target here as soon as that is known, a line of JSON for each: the same command given again "
        "leaves alone what is done; by default manifest.jsonl in the folder",
    )
    quarantine: str | None = option(
        None, "write the paths of the targets that are over a limit here at the end, one in a line, as @FILE reads them"
    )


@dataclass(frozen=True)
class StackOptions:
    """How the scenes of a stack hang together."""

    reference: str | None = option(
        None, "the trusted raster that all scenes are put onto; by default they are put where they lie in the mean"
    )
    append: str | None = option(
        None, "the stack.json of an earlier run, whose scenes stay as that run corrected them; only new ones are added"
    )
    asset: str | None = option(
        None, "of STAC items, which asset is the scene: its key, or the role or common name of a band", metavar="NAME"
    )
    links: int = option(
        8, "about how many pairs each scene is matched in: the likest in season and date, and far ones; few scenes: all"
    )
    pairs: str | None = option(
        None,
        "keep what pairs say in this file, and measure none again that it holds: a run that was cut off goes on; by default "
        "pairs.jsonl in the folder of the output",
    )


@dataclass(frozen=True)
class BandsOptions:
    """How the bands of one instrument are put onto each other."""

    onto: int = option(1, "the band that the others are put onto, by its place among the files of a capture, from 1")
    model: RigKind = option(
        "homography",
        "of each band, one for all captures: a homography is what lenses that look the same way need, polynomials bend as well",
    )
    seed: int = option(0, "seed of the random sampling; the same seed gives the same bytes")
    resampling: KernelKind = option("auto", "interpolation: auto is cubic (B-spline); lanczos has 3 lobes")
    co: tuple[str, ...] = option((), "creation option of GDAL's GTiff driver, NAME=VALUE; may be repeated")
    overwrite: bool = option(False, "replace the output file if it exists")


@dataclass(frozen=True)
class ExecutionOptions:
    """What does the work: by default threads of this process. The result is the same, on a graphics card but for rounding."""

    dask_scheduler: str | None = option(
        None,
        "let the workers of this Dask scheduler work, which must reach all files by the same paths; what is written is written "
        "here",
        metavar="ADDRESS",
    )
    dask_local: int | None = option(
        None, "let so many Dask workers work, processes of this machine that end with the run"
    )
    device: DeviceKind = option(
        "cpu",
        "cuda correlates windows of --preset fast and interpolates resampled pixels on a graphics card (NVIDIA, with CuPy); auto "
        "does so where one is found",
    )


def words(*groups: Any) -> tuple[str, ...]:
    """Words of a command line for the options that are not at their defaults; not how many threads, which changes nothing.

    >>> words(InputOptions(ref_bands=(3, 2), ref_nodata=-1.0, pin=True), WriteOptions(resample=False))
    ('--ref-bands', '3,2', '--ref-nodata=-1.0', '--pin', '--no-resample')
    """
    said: list[str] = []
    for group in groups:
        for each in fields(group):
            value = getattr(group, each.name)
            if value != each.default and each.name != "threads":
                said += _worded(each.name.replace("_", "-"), value)
    return tuple(said)


def _worded(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, tuple) and not all(isinstance(part, int) for part in value):
        return [word for part in value for word in _worded(name, part)]
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
