"""What an alignment is: the correction, what it was found by, and the proof that it is right."""

from __future__ import annotations

import json
import os
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from pyproj import CRS

from georeg import __version__
from georeg.accuracy import Accuracy, Verification
from georeg.apply import How, apply
from georeg.errors import InputError
from georeg.fit import Fit
from georeg.interchange import fit_from_dict, fit_to_dict, parse_json
from georeg.lazily import Lazily
from georeg.models import FloatArray, Model, identity
from georeg.options import DeviceKind, WriteOptions
from georeg.overlap import unit_name
from georeg.placement import Placement
from georeg.raster import open_pair
from georeg.sanity import Geometry
from georeg.tie_points import TiePoints

if TYPE_CHECKING:
    from matplotlib.axes import Axes

plots, notebook = Lazily("georeg.report.plots"), Lazily("georeg.report.notebook")
Verdict = Literal["aligned", "already aligned"]
PathLike = str | os.PathLike[str]
SHOWN_DEG, SHOWN_SCALE = 0.5, 0.01
"""A rotation or a change of scale beyond this is said in the summary."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """A fitted correction that its check points have confirmed."""

    fitted: Fit
    """Model, tie points and their roles."""
    verification: Verification
    before: Accuracy
    """Of the check points, uncorrected."""
    after: Accuracy
    """Of the check points, corrected."""
    geometry: Geometry
    """What the correction does to the ground."""
    version: str = __version__
    """georeg that made it."""
    options: tuple[str, ...] = ()
    """Words of the command line that stand for the options that were not at their defaults, where `align` made it."""

    @property
    def model(self) -> Model:
        """The correction: target map xy -> corrected map xy, both in `crs`."""
        return self.fitted.model

    @property
    def verdict(self) -> Verdict:
        """``already aligned`` where the correction found cannot be told from none, and none is made."""
        return "already aligned" if self.model.still else "aligned"

    @property
    def points(self) -> TiePoints:
        """Every tie point, with the rejected ones."""
        return self.fitted.points

    @property
    def crs(self) -> CRS:
        """Working CRS, in which the model acts."""
        return CRS.from_wkt(self.points.crs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alignment) and self.to_dict() == other.to_dict()

    def reference_px(self, tgt_px: ArrayLike) -> FloatArray:
        """Pixel coordinates (column, row) in the reference of pixel coordinates (N, 2) in the target.

        Raises
        ------
        InputError
            One of the two rasters is no longer where it was.
        """
        inputs = self.points.inputs
        reference, target = open_pair(inputs.reference, inputs.target, initial=inputs.initial)
        xy = Placement(target, self.crs, self.model).to_xy(np.asarray(tgt_px, float).reshape(-1, 2))
        return Placement(reference, self.crs, identity()).to_px(xy)

    def displacement(self) -> tuple[float, float]:
        """Mean displacement (east, north) that the model applies at the check points, map units."""
        return (self.before.bias_x - self.after.bias_x, self.before.bias_y - self.after.bias_y)

    def summary(self) -> str:
        """What was found, with the numbers that prove it, in one sentence without its full stop."""
        unit, gsd = unit_name(self.crs), self.after.gsd
        east, north = self.displacement()
        towards = f"{abs(east):.2f} {unit} {'east' if east >= 0 else 'west'}, "
        towards += f"{abs(north):.2f} {unit} {'north' if north >= 0 else 'south'}"
        pixels = [f" ({a.rmse / gsd:.2g} px)" if unit != "px" else "" for a in (self.before, self.after)]
        rmse = [f"{a.rmse:.3g} {unit}{px}" for a, px in zip((self.before, self.after), pixels, strict=True)]
        turned = abs(self.geometry.rotation_deg) > SHOWN_DEG or abs(self.geometry.scale - 1) > SHOWN_SCALE
        if turned:
            towards += f", turned by {self.geometry.rotation_deg:+.4g} degrees, scaled by {self.geometry.scale:.4g}"
        excluded = f", {self.after.n_excluded} more left out as mismatches" if self.after.n_excluded else ""
        inputs = self.points.inputs
        bands = [",".join(map(str, numbers)) for numbers in (inputs.ref_bands, inputs.tgt_bands)]
        found = (
            "already aligned, nothing moved" if self.verdict == "already aligned" else f"mean displacement {towards}"
        )
        placed = f"; placed by {os.path.basename(inputs.gcp)}" if inputs.gcp else ""
        return (
            f"{found} ({self.model.kind} model); RMSE {rmse[0]} before, {rmse[1]} after, CE90 "
            f"{self.after.ce90:.3g} {unit}, bias {self.after.bias_x:+.2g} {unit} E {self.after.bias_y:+.2g} {unit} N, on "
            f"{self.after.n} check points{excluded}; band {bands[0]} of the reference, {bands[1]} of the target{placed}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        unit = unit_name(self.crs)
        return {
            "type": "georeg.Alignment",
            "verdict": self.verdict,
            "unit": unit,
            "displacement": list(self.displacement()),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "verification": asdict(self.verification),
            "geometry": asdict(self.geometry),
            **fit_to_dict(self.fitted),
            "version": self.version,
            "options": list(self.options),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The Alignment that `to_dict` described.

        Raises
        ------
        InputError
            The values do not describe one.
        """
        try:
            return cls(
                fitted=fit_from_dict(values),
                verification=Verification(**values["verification"]),
                before=Accuracy(**values["before"]),
                after=Accuracy(**values["after"]),
                geometry=Geometry(**values["geometry"]),
                version=values["version"],
                options=tuple(map(str, values.get("options", ()))),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise InputError(f"not a georeg result ({exc!r}); give the file that georeg align or assess wrote") from exc

    def to_json(self) -> str:
        """As JSON text, exact to the last bit."""
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From the text of `to_json`.

        Raises
        ------
        InputError
            Not JSON, or not of an Alignment.
        """
        return cls.from_dict(parse_json(text))

    def write(
        self,
        path: PathLike,
        options: WriteOptions | None = None,
        *,
        executor: Executor | None = None,
        device: DeviceKind = "cpu",
    ) -> How:
        """Write the corrected target to ``path``; see `georeg.apply`."""
        return apply(self, path, options, executor=executor, device=device)

    def plot_residuals(self, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Plot the residuals of the check points; see `georeg.report.plots.plot_residuals`. Needs ``georeg[plot]``."""
        drawn: Axes = plots.plot_residuals(self.fitted, ax, **kwargs)
        return drawn

    def plot_vectors(self, ax: Axes | None = None, scale: float | None = None) -> Axes:
        """Plot a map of the residuals as arrows; see `georeg.report.plots.plot_vectors`. Needs ``georeg[plot]``."""
        drawn: Axes = plots.plot_vectors(self.fitted, ax, scale)
        return drawn

    def plot_checkerboard(self, ax: Axes | None = None, place: ArrayLike | None = None) -> Axes:
        """Draw both rasters in turns; see `georeg.report.plots.plot_checkerboard`. Needs ``georeg[plot]``."""
        drawn: Axes = plots.plot_checkerboard(self.fitted, ax, place)
        return drawn

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(notebook.notebook_html(self.fitted, self.summary(), self.before, self.after))
