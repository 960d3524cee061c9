"""Every model by its kind, and back from plain values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from georeg.errors import InputError
from georeg.models.base import Model
from georeg.models.homography import Homography
from georeg.models.local import Local
from georeg.models.polynomial import Affine, Polynomial2, Polynomial3, Similarity, Translation

LADDER: dict[str, type[Model]] = {
    model.kind: model for model in (Translation, Similarity, Affine, Homography, Polynomial2, Polynomial3, Local)
}
"""Every model by its kind, the simplest first."""


def from_dict(values: dict[str, Any]) -> Model:
    """The model that `Model.to_dict` described.

    Raises
    ------
    InputError
        The values do not describe a model of this version.
    """
    try:
        x, y = values["origin_xy"]
        made = LADDER[values["kind"]].from_values((float(x), float(y)), float(values["scale"]), values)
        numbers = np.concatenate([np.ravel(getattr(made, field.name)) for field in fields(made)])
        if not (made.scale > 0 and np.isfinite(numbers).all()):
            raise ValueError("a number is not finite, or the scale not above 0")
        return made
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise InputError(
            f"not a georeg model ({exc!r}); expected kind, one of {', '.join(LADDER)}, and what belongs to it"
        ) from exc
