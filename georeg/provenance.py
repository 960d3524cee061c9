"""What a corrected file says of itself, in its metadata domain ``GEOREG``, so that nobody corrects it twice unawares."""

from __future__ import annotations

import json
import os
from typing import Any, Protocol

from pyproj import CRS

from georeg import __version__
from georeg.accuracy import Accuracy
from georeg.fit import Fit
from georeg.overlap import unit_name
from georeg.raster import Raster
from georeg.remote import without_secrets


class Confirmed(Protocol):
    """A result that holds a fit and what proves it, such as a `georeg.Alignment`."""

    @property
    def fitted(self) -> Fit:
        """Model and tie points."""

    @property
    def after(self) -> Accuracy:
        """Of the check points, corrected."""

    @property
    def verdict(self) -> Any:
        """What was shown, in a word or two."""

    def summary(self) -> str:
        """A sentence with the numbers that prove it."""


def provenance(result: Fit | Confirmed) -> dict[str, str]:
    """Metadata items of a file that is corrected by a result; lengths are in the unit of its working CRS."""
    fitted = result if isinstance(result, Fit) else result.fitted
    points = fitted.points
    items = {
        "VERSION": __version__,
        "REFERENCE": os.path.basename(without_secrets(points.inputs.reference)),
        "MODEL": fitted.model.kind,
        "CORRECTION": json.dumps({"crs": points.crs, "model": fitted.model.to_dict()}, separators=(",", ":")),
    }
    if isinstance(result, Fit):
        return items | {"VERDICT": "not proven"}
    after = result.after
    return items | {
        "VERDICT": result.verdict,
        "ACCURACY": result.summary(),
        "RMSE": f"{after.rmse:.6g}",
        "CE90": f"{after.ce90:.6g}",
        "UNIT": unit_name(CRS.from_wkt(points.crs)),
        "CHECK_POINTS": str(after.n),
    }


def corrected_before(raster: Raster, items: dict[str, str]) -> str | None:
    """A sentence on what an earlier run did to a raster that is to be corrected once more; None where none did.

    Parameters
    ----------
    items
        Of the correction that is to come, as `provenance` gives them.
    """
    before = dict(raster.provenance)
    if not before or before.get("VERDICT") == "already aligned":
        return None
    which = "this very correction" if before.get("CORRECTION") == items["CORRECTION"] else "a correction"
    return (
        f"{raster.name} holds {which} already (georeg {before.get('VERSION', '?')}, {before.get('MODEL', '?')} model, onto "
        f"{before.get('REFERENCE', '?')}, {before.get('VERDICT', '?')}); it is now corrected once more, so give the uncorrected "
        "file if that is not what you want"
    )
