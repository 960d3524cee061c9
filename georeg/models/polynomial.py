"""Displacements that are polynomials of the map coordinates: degree 0 is a translation, degree 1 an affine map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from affine import Affine as AffineTransform
from numpy.typing import ArrayLike, NDArray

from georeg.models.base import FloatArray, Model, problem, propagated, solve


@dataclass(frozen=True, eq=False)
class PolynomialDisplacement(Model):
    """Displacement (reference − target) as a polynomial of ``(tgt_xy − origin_xy) / scale``."""

    degree: ClassVar[int]

    coefficients: FloatArray
    """(n_terms, 2): displacement in x and y, map units, per term of `exponents`."""
    covariance: FloatArray = None  # type: ignore[assignment]
    """(p, p) of the unknowns, which are the coefficients term by term where all are free, map units²; by default 0."""

    def __post_init__(self) -> None:
        p = self._unknowns().shape[1]
        object.__setattr__(self, "coefficients", np.reshape(self.coefficients, (len(self.exponents()), 2)))
        covariance = np.zeros((p, p)) if self.covariance is None else np.reshape(self.covariance, (p, p))
        object.__setattr__(self, "covariance", covariance)
        super().__post_init__()

    @classmethod
    def exponents(cls) -> list[tuple[int, int]]:
        """Powers of x and y of each term, lowest total degree first."""
        return [(total - j, j) for total in range(cls.degree + 1) for j in range(total + 1)]

    @classmethod
    def n_terms(cls) -> int:
        """Unknowns per axis, which is also the least number of tie points."""
        return len(cls.exponents())

    @classmethod
    def _unknowns(cls) -> FloatArray:
        """(2 terms, p): the coefficients, term by term, of each unknown; the same where all are free."""
        return np.eye(2 * len(cls.exponents()))

    @classmethod
    def fit(cls, tgt_xy: ArrayLike, ref_xy: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Weighted least squares; see `Model.fit`."""
        given = problem(cls, tgt_xy, ref_xy, weights)
        unknowns, covariance = solve(cls._rows(given.uv), given.displacement, given, cls)
        return cls(given.origin_xy, given.scale, cls._unknowns() @ unknowns, covariance)

    @classmethod
    def _design(cls, uv: FloatArray) -> FloatArray:
        u, v = (_powers(uv[:, axis], cls.degree) for axis in (0, 1))
        return np.stack([u[i] * v[j] for i, j in cls.exponents()], axis=1)

    @classmethod
    def _rows(cls, uv: FloatArray) -> FloatArray:
        """(N, 2, p): the displacements at ``uv`` per unknown."""
        design, unknowns = cls._design(uv), cls._unknowns()
        rows = np.zeros((len(uv), 2, design.shape[1], 2))
        rows[:, 0, :, 0] = rows[:, 1, :, 1] = design
        of_each = rows.reshape(2 * len(uv), len(unknowns))
        if unknowns.shape[1] < len(unknowns):  # else all are free
            of_each = of_each @ unknowns
        return of_each.reshape(len(uv), 2, unknowns.shape[1])

    def _displacement(self, uv: FloatArray) -> FloatArray:
        return np.asarray(self._design(uv) @ self.coefficients)

    def _slopes(self, uv: FloatArray) -> FloatArray:
        u, v = uv.T
        by_u = np.stack([i * u ** max(i - 1, 0) * v**j for i, j in self.exponents()], axis=1)
        by_v = np.stack([j * u**i * v ** max(j - 1, 0) for i, j in self.exponents()], axis=1)
        return np.stack([by_u @ self.coefficients, by_v @ self.coefficients], axis=2)

    def covariance_at(self, tgt_xy: ArrayLike) -> FloatArray:
        """Covariance (N, 2, 2) of the corrected position; see `Model.covariance_at`."""
        return propagated(self._rows(self._scaled(tgt_xy)), self.covariance)

    def less_certain(self, variance: float) -> Self:
        """See `Model.less_certain`."""
        covariance = self.covariance.copy()
        covariance[[0, 1], [0, 1]] += variance  # of the shift, which comes first
        return replace(self, covariance=covariance)

    def _newton(self, tgt: FloatArray, ref: FloatArray) -> FloatArray:
        return tgt if self.degree == 0 else super()._newton(tgt, ref)

    def _folded(self, tgt: FloatArray) -> NDArray[np.bool_]:
        return super()._folded(tgt) if self.degree > 1 else np.zeros(len(tgt), bool)

    @property
    def still(self) -> bool:
        """Whether it moves nothing."""
        return not self.coefficients.any()

    @property
    def affine(self) -> AffineTransform | None:
        """The same as an affine map of map coordinates, or None where it is not one."""
        if self.degree > 1:
            return None
        a = self.jacobian(np.array([self.origin_xy]))[0]
        offset = self(np.array([self.origin_xy]))[0] - a @ self.origin_xy
        return AffineTransform(a[0, 0], a[0, 1], offset[0], a[1, 0], a[1, 1], offset[1])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **super().to_dict(),
            "exponents": [list(pair) for pair in self.exponents()],
            "coefficients": self.coefficients.tolist(),
            "covariance": self.covariance.tolist(),
        }

    @classmethod
    def from_values(cls, origin_xy: tuple[float, float], scale: float, values: dict[str, Any]) -> Self:
        """The model of `to_dict`."""
        made = cls(origin_xy, scale, np.array(values["coefficients"], float), np.array(values["covariance"], float))
        if values.get("exponents", terms := [list(pair) for pair in cls.exponents()]) != terms:
            raise ValueError(f"exponents are not {terms}")
        return made


def _powers(values: FloatArray, degree: int) -> list[FloatArray]:
    """From the 0th to the one of ``degree``, by multiplication: NumPy takes long for the third."""
    powers = [np.ones_like(values)]
    for _ in range(degree):
        powers.append(powers[-1] * values)
    return powers


class Translation(PolynomialDisplacement):
    """One shift for the whole raster.

    >>> import numpy as np
    >>> tgt_xy = np.array([[0.0, 0.0], [100.0, 0.0]])
    >>> Translation.fit(tgt_xy, tgt_xy + [5, -3])(np.array([[50.0, 50.0]])).round(9).tolist()
    [[55.0, 47.0]]
    """

    kind, degree = "translation", 0


class Similarity(PolynomialDisplacement):
    """Shift, rotation and one scale.

    >>> import numpy as np
    >>> tgt_xy = np.array([[0.0, 0.0], [100.0, 0.0]])
    >>> Similarity.fit(tgt_xy, np.array([[0.0, 0.0], [0.0, 50.0]]))(np.array([[40.0, 100.0]])).round(6).tolist()
    [[-50.0, 20.0]]
    """

    kind, degree = "similarity", 1

    @classmethod
    def n_terms(cls) -> int:
        """Two unknowns per axis: a shift, and its share of rotation and scale."""
        return 2

    @classmethod
    def _unknowns(cls) -> FloatArray:
        shift_x, shift_y = (1, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0)
        growth, turn = (0, 0, 1, 0, 0, 1), (0, 0, 0, 1, -1, 0)
        return np.array([shift_x, shift_y, growth, turn], float).T


class Affine(PolynomialDisplacement):
    """Shift, rotation, two scales and shear."""

    kind, degree = "affine", 1


class Polynomial2(PolynomialDisplacement):
    """Polynomial of the second degree."""

    kind, degree = "polynomial2", 2


class Polynomial3(PolynomialDisplacement):
    """Polynomial of the third degree."""

    kind, degree = "polynomial3", 3


def identity() -> Translation:
    """The correction that moves nothing, known exactly."""
    return Translation((0.0, 0.0), 1.0, np.zeros((1, 2)))


def from_transform(transform: AffineTransform, origin_xy: FloatArray, scale: float) -> Affine:
    """The model that an affine map of map coordinates is, in coordinates about ``origin_xy``, known exactly.

    >>> from affine import Affine as Transform
    >>> from_transform(Transform(0, -1, 0, 1, 0, 0), np.array([10.0, 0.0]), 5.0)([[3.0, 4.0]]).round(9).tolist()
    [[-4.0, 3.0]]
    """
    a, b, c, d, e, f = transform[:6]
    x, y = (float(v) for v in origin_xy)
    constant = (a * x + b * y + c - x, d * x + e * y + f - y)
    coefficients = np.array([constant, ((a - 1) * scale, d * scale), (b * scale, (e - 1) * scale)])
    return Affine((x, y), scale, coefficients)
