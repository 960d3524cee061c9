"""A projective map: what a camera does to a plane that it looks at askew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from georeg.errors import FitError
from georeg.models.base import FloatArray, Model, Problem, problem, propagated, solve
from georeg.models.polynomial import Affine

_ROUNDS = 50
_HALVINGS = 12
_CONVERGED, _EXACT = 1e-6, 1e-12
"""Steps of the elements of the matrix: the last must be less than the first, and need not be less than the second."""


@dataclass(frozen=True, eq=False)
class Homography(Model):
    """Corrected = (affine map of scaled coordinates) / (1 + perspective · uv); beyond its horizon there is nothing."""

    kind = "homography"

    matrix: FloatArray
    """(3, 3): scaled target to scaled corrected coordinates, both about ``origin_xy``; its last element is 1."""
    covariance: FloatArray
    """(8, 8) of the other elements, row by row."""

    @classmethod
    def n_terms(cls) -> int:
        """Eight unknowns of both axes together."""
        return 4

    @classmethod
    def fit(cls, tgt_xy: ArrayLike, ref_xy: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Weighted least squares by Gauss and Newton from the affine map, in steps that never do worse; see `Model.fit`."""
        given = problem(cls, tgt_xy, ref_xy, weights)
        model = cls._affine(given)
        for _ in range(_ROUNDS):
            rest = given.displacement - model._displacement(given.uv)
            step, covariance = solve(model._rows(given.uv), rest, given, cls)
            model, size = replace(model, covariance=covariance), float(np.abs(step).max())
            shorter = (replace(model, matrix=model.matrix + _square(step / 2**k)) for k in range(_HALVINGS))
            least = model._misfit(given) if size > _CONVERGED else np.inf  # of less the misfit would not tell
            before, model = model, next((made for made in shorter if made._misfit(given) < least), model)
            if model is before or size < _EXACT:
                break
        if size > _CONVERGED:
            raise FitError(
                f"{given.usable} tie points that no {cls.kind} describes, without a horizon among them; "
                "choose another --model"
            )
        return model

    @classmethod
    def _affine(cls, given: Problem) -> Self:
        """The affine map."""
        terms = solve(Affine._rows(given.uv), given.displacement, given, cls)[0].reshape(3, 2) / given.scale
        matrix = np.eye(3)
        matrix[:2] += terms[[1, 2, 0]].T
        return cls(given.origin_xy, given.scale, matrix, np.zeros((8, 8)))

    def _misfit(self, given: Problem) -> float:
        """Sum of the squared residuals, weighted; infinite where a point lies beyond the horizon."""
        rest = given.displacement - self._displacement(given.uv)
        misfit = float(np.einsum("ni,nij,nj", rest, given.precision, rest))
        return misfit if np.isfinite(misfit) else np.inf

    def _denominator(self, uv: FloatArray) -> FloatArray:
        depth = uv @ self.matrix[2, :2] + 1
        return np.where(depth > 1e-6, depth, np.nan)

    def _mapped(self, uv: FloatArray) -> FloatArray:
        return np.asarray((uv @ self.matrix[:2, :2].T + self.matrix[:2, 2]) / self._denominator(uv)[:, None])

    def _displacement(self, uv: FloatArray) -> FloatArray:
        return np.asarray((self._mapped(uv) - uv) * self.scale)

    def _rows(self, uv: FloatArray) -> FloatArray:
        """(N, 2, 8) derivatives of the displacement by the elements of the matrix."""
        rows = np.zeros((len(uv), 2, 8))
        rows[:, 0, 0:2] = rows[:, 1, 3:5] = uv
        rows[:, 0, 2] = rows[:, 1, 5] = 1
        rows[:, :, 6:] = -self._mapped(uv)[:, :, None] * uv[:, None, :]
        return rows * (self.scale / self._denominator(uv))[:, None, None]

    def _slopes(self, uv: FloatArray) -> FloatArray:
        by_uv = self.matrix[:2, :2] - self._mapped(uv)[:, :, None] * self.matrix[2, :2]
        return np.asarray((by_uv / self._denominator(uv)[:, None, None] - np.eye(2)) * self.scale)

    def covariance_at(self, tgt_xy: ArrayLike) -> FloatArray:
        """Covariance (N, 2, 2) of the corrected position, to first order; see `Model.covariance_at`."""
        return propagated(self._rows(self._scaled(tgt_xy)), self.covariance)

    def less_certain(self, variance: float) -> Self:
        """See `Model.less_certain`; about the centre of the tie points."""
        covariance = self.covariance.copy()
        covariance[[2, 5], [2, 5]] += variance / self.scale**2  # of the shift
        return replace(self, covariance=covariance)

    def _newton(self, tgt: FloatArray, ref: FloatArray) -> FloatArray:
        """In closed form."""
        one, two, three = self.matrix
        adjugate = np.column_stack([np.cross(two, three), np.cross(three, one), np.cross(one, two)])
        turned = np.column_stack([self._scaled(ref), np.ones(len(ref))]) @ adjugate.T
        uv = turned[:, :2] / turned[:, 2:]
        found = np.asarray(uv * self.scale + self.origin_xy)
        return np.where(np.isnan(self._denominator(uv))[:, None] | self._folded(found)[:, None], np.nan, found)

    def _folded(self, tgt: FloatArray) -> NDArray[np.bool_]:
        return np.asarray(~(np.linalg.det(self.jacobian(tgt)) > 0))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**super().to_dict(), "matrix": self.matrix.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_values(cls, origin_xy: tuple[float, float], scale: float, values: dict[str, Any]) -> Self:
        """The model of `to_dict`."""
        matrix = np.array(values["matrix"], float).reshape(3, 3)
        if matrix[2, 2] != 1:
            raise ValueError("the last element of the matrix is not 1")
        return cls(origin_xy, scale, matrix, np.array(values["covariance"], float).reshape(8, 8))


def _square(elements: FloatArray) -> FloatArray:
    """(3, 3) of eight elements, row by row, and 0 for the last."""
    return np.append(elements, 0).reshape(3, 3)
