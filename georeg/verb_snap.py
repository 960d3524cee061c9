"""The verb that measures one more tie point."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from georeg.errors import InputError
from georeg.fit import Fit
from georeg.interchange import fit_from_dict, points_from_dict, points_to_dict
from georeg.options import MatchOptions, PlaceOptions
from georeg.snap import snap as measured
from georeg.snap import with_tie_point
from georeg.tie_points import TiePoints
from georeg.verb_list import VERBS
from georeg.verb_parts import check_file, chosen, load, metered_verb, save

_MATCHING = next(verb.matching for verb in VERBS if verb.name == "snap")


@metered_verb
def snap(arguments: argparse.Namespace) -> None:
    check_file(arguments, (arguments.points,))
    place: PlaceOptions = chosen(arguments, PlaceOptions)
    if place.ref_xy is None:
        raise InputError("no place is given; give --ref-xy X,Y, where the feature is in the reference")
    held = load(arguments.points)
    source: Fit | TiePoints = fit_from_dict(held) if "model" in held else points_from_dict(held)
    points, model = (source.points, source.model) if isinstance(source, Fit) else (source, None)
    options = MatchOptions(**{name: getattr(arguments, name) for name in _MATCHING})
    one = measured(points, place.ref_xy, place.tgt_xy, model=model, options=options)
    told = _told(one, place.replaces or len(points) + 1, source)
    text = ", ".join(f"{value:+.3g}" for value in told["displacement"])
    sigma_px = float(np.sqrt(np.trace(one.cov[0]) / 2)) / points.gsd
    sentence = f"{arguments.output}: tie point {told['number']}, displacement ({text}), known to {sigma_px:.2g} px"
    save(arguments, {**points_to_dict(with_tie_point(points, one, place.replaces)), "snapped": told}, sentence)


def _told(one: TiePoints, number: int, source: Fit | TiePoints) -> dict[str, Any]:
    """The tie point by itself, and what the correction found so far leaves of it, where there is one."""
    residual_xy = one.ref_xy - source.model(one.tgt_xy) if isinstance(source, Fit) else None
    return {
        "number": number,
        "ref_xy": one.ref_xy[0].tolist(),
        "tgt_xy": one.tgt_xy[0].tolist(),
        "displacement": one.displacement[0].tolist(),
        "residual_xy": None if residual_xy is None else residual_xy[0].tolist(),
        "cov": one.cov[0].tolist(),
        "score": float(one.score[0]),
    }
