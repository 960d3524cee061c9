"""All figures that the page of a stack shows: the stack itself, and under ``report`` what is derived from it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import numpy as np

from georeg.models import FloatArray
from georeg.report.find import made_now, software
from georeg.stack_result import Stack, StackScene

_LONGEST = 10
"""Characters of a name that a chart has room for."""
_BETWEEN = "_-. "


def stack_values(stack: Stack) -> dict[str, Any]:
    """`Stack.to_dict`, and under ``report`` what else the page says; ``report.scenes`` go along with ``scenes``.

    Lengths ending in ``_px`` are in working pixels, others in map units.
    """
    numbers = {k: n for n, k in enumerate(in_order(stack), 1)}
    short, middle = short_names([scene.name for scene in stack.scenes]), _middle(stack)
    scenes = [
        {"number": numbers[k], "name": scene.name, "short": short[k], **_figures(scene, middle, stack.gsd)}
        for k, scene in enumerate(stack.scenes)
    ]
    states = [pair.state for pair in stack.pairs]
    loops = stack.loops
    return {
        **stack.to_dict(),
        "report": {
            "summary": stack.summary(),
            "n_scenes": sum(not scene.held for scene in stack.scenes),
            "n_corrected": len(stack.corrected),
            "n_refused": len(stack.refused),
            "n_held": sum(scene.held for scene in stack.scenes),
            "n_pairs": len(states),
            "n_used": states.count("used"),
            "n_contradicting": states.count("contradicts the others"),
            "n_not_proven": states.count("refused"),
            "n_loops": loops.n,
            "n_check": sum(scene.alignment.after.n for scene in stack.corrected if scene.alignment is not None),
            "sigma_px": _median([scene.sigma_px for scene in stack.corrected]),
            "rmse_before_px": _median([scene["rmse_before_px"] for scene in scenes]),
            "rmse_after_px": _median([scene["rmse_after_px"] for scene in scenes]),
            "scenes": scenes,
            "made": made_now(),
            "software": software(),
        },
    }


def in_order(stack: Stack) -> list[int]:
    """Numbers of the scenes by date, those that are held without one first; as they were given where dates are missing."""
    numbers = range(len(stack.scenes))
    when = [instant(scene.date) for scene in stack.scenes]
    if any(at is None and not stack.scenes[k].held for k, at in enumerate(when)):
        return list(numbers)
    return sorted(numbers, key=lambda k: -np.inf if (at := when[k]) is None else at)


def instant(date: datetime | None) -> float | None:
    """Seconds since 1970, of a date without a zone as if it were UTC.

    >>> instant(datetime(1970, 1, 2)), instant(None)
    (86400.0, None)
    """
    return None if date is None else (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def short_names(names: list[str]) -> list[str]:
    """What distinguishes file names that begin and end alike.

    >>> short_names(["ortho_2019-05-01_rgb.tif", "ortho_2020-06-11_rgb.tif"])
    ['2019-05-01', '2020-06-11']
    >>> short_names(["a.tif"])
    ['a']
    """
    stems = [os.path.splitext(name)[0] for name in names]
    head = _words_in_common(stems)
    left = [stem[head:] for stem in stems]
    tail = _words_in_common([stem[::-1] for stem in left])
    left = [stem[: len(stem) - tail] or stem for stem in left]
    return [text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}" for text in left]


def _words_in_common(texts: list[str]) -> int:
    """Characters of the whole words that all begin with; none where all are the same."""
    if len(set(texts)) < 2:
        return 0
    alike = [len(set(signs)) == 1 for signs in zip(*texts, strict=False)]
    common = texts[0][: [*alike, False].index(False)]
    return max(common.rfind(sign) + 1 for sign in _BETWEEN)


def _middle(stack: Stack) -> FloatArray:
    """(1, 2) map xy of one place in all scenes: where the coordinates of their models have their middle."""
    own = [scene.model.origin_xy for scene in stack.corrected if scene.model is not None]
    origins = own or [scene.model.origin_xy for scene in stack.scenes if scene.model is not None] or [(0.0, 0.0)]
    return np.asarray(np.median(np.array(origins, float), axis=0, keepdims=True))


def _figures(scene: StackScene, middle_xy: FloatArray, gsd: float) -> dict[str, Any]:
    alignment, sigma_px = scene.alignment, scene.sigma_px
    moved = None if scene.model is None else scene.model.displacement(middle_xy)[0]
    before, after = (None, None) if alignment is None else (alignment.before, alignment.after)
    return {
        "displacement": None if moved is None else moved.tolist(),
        "displacement_px": None if moved is None else (moved / gsd).tolist(),
        "sigma": None if sigma_px is None else sigma_px * gsd,
        "rmse_before_px": None if before is None else before.rmse / before.gsd,
        "rmse_after_px": None if after is None else after.rmse / after.gsd,
        "n_check": None if after is None else after.n,
    }


def _median(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
