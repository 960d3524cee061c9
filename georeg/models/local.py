"""A smooth displacement field: bent where the tie points say so, affine where there are none.

A tensor product of cubic B-splines whose thin-plate energy is penalised. How much is estimated with the field, by restricted
maximum likelihood: the penalty is the logarithm of a prior under which every affine map is as likely as another, and the
covariance is that of the posterior (Wahba 1983; Wood and Fasiolo 2017, doi:10.1111/biom.12666).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from georeg.errors import FitError
from georeg.models.base import FloatArray, Model, Problem, problem, solve
from georeg.models.polynomial import Affine
from georeg.models.splines import Woven, along, bending, inverse_quarters

POINTS_PER_CELL = 1.5
"""Fewer cells are taken where they would hold fewer tie points than this."""
CELLS, MAX_CELLS = 8, 12
"""Along the longer side of the tie points no more than the first, and no more than the second however many there are."""
MANY_PER_CELL = 8
"""There are more than the first where each holds as many tie points as this."""
BEYOND = 0.1
"""Beyond the cells the field may bend on, as it does within: the variance of that grows with the third power of the distance
(which is that of an integrated random walk) by this factor; `benchmarks/models.py --section calibration` tells how well."""
_ROUNDS = 30
_SMOOTHINGS = (1e-8, 1e6)
"""Bounds of the smoothing, where data and penalty weigh alike at 1."""
_AT_ONCE = 20_000
_PAIRS = ((0, 0), (0, 1), (1, 1))
_TWICE = np.array([1.0, 2.0, 1.0])
"""How often each of xx, xy and yy stands in a symmetric matrix."""


@dataclass(frozen=True, eq=False)
class Local(Model):
    """Displacement (reference − target) as a penalised cubic B-spline, continued linearly beyond its cells."""

    kind = "local"

    low: tuple[float, float]
    """Scaled coordinates of the corner of the first cell."""
    cell: float
    """Side of a cell, scaled."""
    coefficients: FloatArray
    """(n, m, 2): displacement, map units, by splines along x and along y: three more than there are cells."""
    smoothing: float
    """Factor of the thin-plate energy of a field over cells of side 1, map units⁻²."""
    held: FloatArray
    """(3, n m, n m): what the tie points hold of the splines, Σ precision × spline × spline, in xx, xy and yy."""
    left_out: float = 0.0
    """Variance on each axis that `covariance_at` adds, map units²."""

    @classmethod
    def n_terms(cls) -> int:
        """With fewer tie points than this a smooth field is no better than an affine map."""
        return 16

    @property
    def freedom(self) -> float:
        """Unknowns of both axes together that the tie points decided: between 6 and all of them."""
        return float(_TWICE @ (self._posterior * self.held).sum(axis=(1, 2)))

    @classmethod
    def fit(cls, tgt_xy: ArrayLike, ref_xy: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Penalised weighted least squares; see `Model.fit`."""
        given = problem(cls, tgt_xy, ref_xy, weights)
        solve(
            Affine._rows(given.uv), given.displacement, given, cls
        )  # nothing penalises these: the points must hold them
        empty = cls._over(given)
        if given.stated:
            return empty._smoothed(given)
        variance, made = float(given.displacement.var()) / 100, empty
        for _ in range(5):  # the penalty is weighed against the variance: here that is to be found too
            variance = max(variance, 1e-18 * given.scale**2)
            made = empty._smoothed(replace(given, precision=given.precision / variance))
            rest = given.displacement - made._displacement(given.uv)
            variance = float((rest**2).sum()) / max(2 * given.usable - made.freedom, 1.0)
        return made

    def refit(self, tgt_xy: ArrayLike, ref_xy: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """On the same cells, from the smoothness arrived at; see `Model.refit`."""
        held, pull = self._held(problem(type(self), tgt_xy, ref_xy, weights, frame=self))
        return self._bent(held, pull, self._suited())

    @classmethod
    def _over(cls, given: Problem) -> Self:
        """Without displacement, on cells that cover the points."""
        seen = given.uv[np.trace(given.precision, axis1=1, axis2=2) > 0]
        low, high = seen.min(axis=0), seen.max(axis=0)
        longer, shorter = (high - low).max() or 1.0, max((high - low).min(), 1e-9)
        n = len(seen) * longer / shorter
        most = np.clip(np.sqrt(n / MANY_PER_CELL), CELLS, MAX_CELLS)
        along = int(np.clip(np.sqrt(n / POINTS_PER_CELL), 1, most))
        cell = longer / along
        n, m = np.maximum(np.ceil((high - low) / cell - 1e-9), 1).astype(int)
        x, y = (low + high - cell * np.array([n, m])) / 2
        size = (n + 3) * (m + 3)
        none = np.zeros((n + 3, m + 3, 2))
        return cls(
            given.origin_xy, given.scale, (float(x), float(y)), float(cell), none, 0.0, np.zeros((3, size, size))
        )

    def _smoothed(self, given: Problem) -> Self:
        """On these cells, as smooth as is likeliest."""
        held, pull = self._held(given)
        smoothing = 1e-3 * float(np.trace(held[0] + held[2]) / np.trace(self._bending) / 2)
        for _ in range(_ROUNDS):
            made, before = self._bent(held, pull, smoothing), smoothing
            smoothing = made._suited()
            if abs(smoothing / before - 1) < 0.02:
                break
        return made

    def _bent(self, held: FloatArray, pull: FloatArray, smoothing: float) -> Self:
        """The field with a smoothing that is given."""
        posterior, (by_x, by_y) = _posterior(held, smoothing * self._bending), np.split(pull, 2)
        xx, xy, yy = posterior
        field = np.stack([xx @ by_x + xy @ by_y, xy.T @ by_x + yy @ by_y], axis=1)
        made = replace(self, smoothing=smoothing, held=held, coefficients=field.reshape(self.coefficients.shape))
        vars(made)["_posterior"] = posterior  # it does not depend on the field
        return made

    def _suited(self) -> float:
        """One step of Fellner and Schall's iteration for the smoothing, from this field and its covariance."""
        x, y = self.coefficients.reshape(-1, 2).T
        size, bending = len(x), self._bending
        energy = float(x @ bending @ x + y @ bending @ y)
        open_ = float(((self._posterior[0] + self._posterior[2]) * bending).sum())
        decided = max(2 * (size - 3) - self.smoothing * open_, 1e-3)
        alike = float(np.trace(self.held[0] + self.held[2]) / np.trace(bending) / 2)
        return float(np.clip(decided / max(energy, 1e-300), _SMOOTHINGS[0] * alike, _SMOOTHINGS[1] * alike))

    def _held(self, given: Problem) -> tuple[FloatArray, FloatArray]:
        """``held`` of the points, and what pulls the splines of x, then of y, towards them."""
        woven = self._woven(given.uv)
        held = np.stack([woven.summed(given.precision[:, i, j]) for i, j in _PAIRS])
        target = (given.precision @ given.displacement[..., None])[..., 0]
        pull = [
            np.bincount(woven.index.ravel(), (woven.value * target[:, [axis]]).ravel(), woven.size) for axis in (0, 1)
        ]
        return held, np.concatenate(pull)

    def _woven(self, uv: FloatArray) -> Woven:
        """The splines that reach N places."""
        n, m, _ = self.coefficients.shape
        return Woven.at(self._in_cells(uv), n - 3, m - 3)

    def _in_cells(self, uv: FloatArray) -> FloatArray:
        return np.asarray((uv - self.low) / self.cell)

    def _displacement(self, uv: FloatArray) -> FloatArray:
        woven = self._woven(uv)
        return np.asarray(np.einsum("nk,nkd->nd", woven.value, self.coefficients.reshape(-1, 2)[woven.index]))

    def _slopes(self, uv: FloatArray) -> FloatArray:
        n, m, _ = self.coefficients.shape
        at, reached = self._in_cells(uv), self.coefficients.reshape(-1, 2)[self._woven(uv).index]
        (_, of_x, slope_x), (_, of_y, slope_y) = along(at[:, 0], n - 3), along(at[:, 1], m - 3)
        values = (a[:, :, None] * b[:, None, :] / self.cell for a, b in ((slope_x, of_y), (of_x, slope_y)))
        return np.stack([np.einsum("nk,nkd->nd", v.reshape(-1, 16), reached) for v in values], axis=2)

    @property
    def _bending(self) -> FloatArray:
        n, m, _ = self.coefficients.shape
        return bending(n - 3, m - 3)

    @cached_property
    def _posterior(self) -> FloatArray:
        """(3, n m, n m) covariance of the splines of x, of those with the splines of y, and of these."""
        return _posterior(self.held, self.smoothing * self._bending)

    def covariance_at(self, tgt_xy: ArrayLike) -> FloatArray:
        """Covariance (N, 2, 2) of the corrected position, smoothing included; see `Model.covariance_at`."""
        uv = self._scaled(tgt_xy)
        parts = [self._covariance(uv[k : k + _AT_ONCE]) for k in range(0, len(uv), _AT_ONCE)]
        return np.concatenate([np.zeros((0, 2, 2)), *parts])

    def _covariance(self, uv: FloatArray) -> FloatArray:
        woven = self._woven(uv)
        xx, xy, yy = (woven.spread(part) for part in self._posterior)
        added = self.left_out + BEYOND / self.smoothing * self._beyond(uv) ** 3
        return np.stack([xx, xy, xy, yy], axis=1).reshape(-1, 2, 2) + added[:, None, None] * np.eye(2)

    def _beyond(self, uv: FloatArray) -> FloatArray:
        """(N,) distance from the nearest cell, in cells."""
        at = self._in_cells(uv)
        return np.asarray(np.hypot(*(at - np.clip(at, 0, np.array(self.coefficients.shape[:2]) - 3)).T))

    def less_certain(self, variance: float) -> Self:
        """See `Model.less_certain`."""
        return replace(self, left_out=self.left_out + variance)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of ``held`` what is above the diagonal and not zero."""
        rows, cols = np.nonzero(np.triu(np.abs(self.held).max(axis=0)))
        return {
            **super().to_dict(),
            "low": list(self.low),
            "cell": self.cell,
            "coefficients": self.coefficients.tolist(),
            "smoothing": self.smoothing,
            "left_out": self.left_out,
            "held": {"row": rows.tolist(), "column": cols.tolist(), "values": self.held[:, rows, cols].tolist()},
        }

    @classmethod
    def from_values(cls, origin_xy: tuple[float, float], scale: float, values: dict[str, Any]) -> Self:
        """The model of `to_dict`."""
        coefficients = np.array(values["coefficients"], float)
        n, m, axes = coefficients.shape
        cell, smoothing, (x, y) = float(values["cell"]), float(values["smoothing"]), values["low"]
        if min(n, m) < 4 or axes != 2 or not (cell > 0 and smoothing > 0):
            raise ValueError(f"{n} x {m} splines of {axes} axes, cells of {cell}, smoothing {smoothing}")
        rows, cols, above = (np.array(values["held"][name]) for name in ("row", "column", "values"))
        if above.shape != (3, len(rows)) or min(rows.min(initial=0), cols.min(initial=0)) < 0:
            raise ValueError(f"{len(rows)} places of held for {above.shape} values")
        held = np.zeros((3, n * m, n * m))
        held[:, rows, cols] = held[:, cols, rows] = above
        left_out = float(values["left_out"])
        return cls(origin_xy, scale, (float(x), float(y)), cell, coefficients, smoothing, held, left_out)


def _posterior(held: FloatArray, penalty: FloatArray) -> FloatArray:
    """(3, k, k) parts of the inverse of what holds the splines of x and y.

    Raises
    ------
    FitError
        Something is not held.
    """
    try:
        return np.stack(inverse_quarters(held[0] + penalty, held[1], held[2] + penalty))
    except np.linalg.LinAlgError as exc:
        raise FitError("the tie points leave a local model open; choose a simpler --model") from exc
