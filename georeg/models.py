"""The corrections that georeg fits: target map xy -> corrected map xy, one direction only.

Every model here adds a displacement that is a polynomial of the map coordinates, in centred and scaled
coordinates since map northings would ruin the conditioning. Degree 0 is a translation, degree 1 an affine map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from affine import Affine as AffineTransform
from numpy.typing import ArrayLike, NDArray

from georeg.errors import FitError, InputError

FloatArray = NDArray[np.float64]


def principal_axes(matrices: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues (N, 2) of positive semidefinite (N, 2, 2), the largest first, and unit eigenvectors (N, 2, 2) as rows.

    >>> import numpy as np
    >>> values, axes = principal_axes(np.array([[[1.0, 0.0], [0.0, 4.0]]]))
    >>> values.tolist(), axes.round(9).tolist()
    ([[4.0, 1.0]], [[[0.0, 1.0], [-1.0, 0.0]]])
    """
    a, b, c = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1]
    largest = (a + c) / 2 + np.hypot((a - c) / 2, b)
    # the product of both is the determinant: their difference would cancel where one is long and one short
    least = np.maximum(a * c - b * b, 0) / np.where(largest > 0, largest, 1)
    turn = np.arctan2(2 * b, a - c) / 2
    axes = np.stack([np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)], axis=1).reshape(-1, 2, 2)
    return np.stack([largest, least], axis=1), axes


def _root(matrices: FloatArray) -> FloatArray:
    """R (N, 2, 2) whose Rᵀ R is the positive semidefinite matrix."""
    values, axes = principal_axes(matrices)
    return np.asarray(np.sqrt(values)[:, :, None] * axes)


@dataclass(frozen=True, eq=False)
class PolynomialDisplacement:
    """Displacement (reference − target) as a polynomial of ``(tgt_xy − origin_xy) / scale``."""

    kind: ClassVar[str]
    degree: ClassVar[int]

    origin_xy: tuple[float, float]
    """Centre of the coordinates, map units."""
    scale: float
    """Map units that count as one in the scaled coordinates."""
    coefficients: FloatArray
    """(n_terms, 2): displacement in x and y, map units, per term of `exponents`."""

    def __post_init__(self) -> None:
        coefficients = np.array(self.coefficients, float).reshape(len(self.exponents()), 2)
        coefficients.flags.writeable = False
        object.__setattr__(self, "coefficients", coefficients)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PolynomialDisplacement) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.kind, self.origin_xy, self.scale, self.coefficients.tobytes()))

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
        """(2 terms, 2 n_terms): the coefficients, term by term, of each unknown; the same where all are free."""
        return np.eye(2 * len(cls.exponents()))

    @classmethod
    def fit(cls, tgt_xy: ArrayLike, ref_xy: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Weighted least squares.

        Parameters
        ----------
        tgt_xy, ref_xy
            (N, 2) map coordinates of the same features in the target and in the reference.
        weights
            (N,) inverse variances or (N, 2, 2) inverse covariances of ``ref_xy − tgt_xy``, any unit.

        Raises
        ------
        FitError
            Fewer points than terms, or points that do not span the plane.
        """
        tgt, ref = np.asarray(tgt_xy, float), np.asarray(ref_xy, float)
        precision = np.ones(len(tgt)) if weights is None else np.asarray(weights, float)
        if precision.ndim == 1:
            precision = precision[:, None, None] * np.eye(2)
        weight = np.trace(precision, axis1=1, axis2=2) / 2
        usable = int((weight > 0).sum())
        if usable < cls.n_terms():
            raise FitError(
                f"{usable} tie points for a model of kind {cls.kind}, which needs {cls.n_terms()}; "
                "choose a simpler --model or lower --spacing-px"
            )
        origin = np.average(tgt, axis=0, weights=weight)
        scale = float(np.sqrt(np.average(((tgt - origin) ** 2).sum(1), weights=weight))) or 1.0
        root = _root(precision / weight.max())
        rows, values = cls._rows((tgt - origin) / scale, root), (root @ (ref - tgt)[..., None]).ravel()
        unknowns, _, rank, _ = np.linalg.lstsq(rows, values, rcond=1e-10)
        if rank < 2 * cls.n_terms():
            raise FitError(
                f"{usable} tie points that lie on too few lines, or are known in too few directions, for a model of "
                f"kind {cls.kind} (they hold {rank} of its {2 * cls.n_terms()} coefficients); choose a simpler --model"
            )
        return cls((float(origin[0]), float(origin[1])), scale, cls._unknowns() @ unknowns)

    @classmethod
    def _design(cls, uv: FloatArray) -> FloatArray:
        return np.stack([uv[:, 0] ** i * uv[:, 1] ** j for i, j in cls.exponents()], axis=1)

    @classmethod
    def _rows(cls, uv: FloatArray, root: FloatArray) -> FloatArray:
        """(2 N, 2 n_terms): the displacements at ``uv`` times ``root`` (N, 2, 2), per unknown."""
        design = cls._design(uv)
        return np.asarray((root[:, :, None, :] * design[:, None, :, None]).reshape(2 * len(uv), -1) @ cls._unknowns())

    def deviation(self, tgt_xy: ArrayLike, precision: FloatArray) -> FloatArray:
        """Standard deviation (N,) of the displacement in its least certain direction, map units.

        Of a model fitted to tie points at ``tgt_xy`` with inverse covariances ``precision`` (N, 2, 2), at these points.
        """
        uv = (np.asarray(tgt_xy, float).reshape(-1, 2) - self.origin_xy) / self.scale
        _, held, terms = np.linalg.svd(self._rows(uv, _root(precision)), full_matrices=False)
        spread = self._rows(uv, np.eye(2)[None]) @ (terms.T / np.maximum(held, 1e-12 * held.max()))
        by_point = spread.reshape(len(uv), 2, -1)
        return np.asarray(np.sqrt(principal_axes(by_point @ by_point.swapaxes(1, 2))[0][:, 0]))

    def displacement(self, tgt_xy: ArrayLike) -> FloatArray:
        """Displacement (reference − target) at target map xy, (N, 2) map units, +x east, +y north."""
        tgt = np.asarray(tgt_xy, float).reshape(-1, 2)
        return self._design((tgt - self.origin_xy) / self.scale) @ self.coefficients

    def __call__(self, tgt_xy: ArrayLike) -> FloatArray:
        """Corrected map xy of target map xy, (N, 2)."""
        return np.asarray(tgt_xy, float).reshape(-1, 2) + self.displacement(tgt_xy)

    def jacobian(self, tgt_xy: ArrayLike) -> FloatArray:
        """(N, 2, 2) derivatives of corrected xy (rows) by target xy (columns)."""
        uv = (np.asarray(tgt_xy, float).reshape(-1, 2) - self.origin_xy) / self.scale
        u, v = uv.T
        by_u = np.stack([i * u ** max(i - 1, 0) * v**j for i, j in self.exponents()], axis=1)
        by_v = np.stack([j * u**i * v ** max(j - 1, 0) for i, j in self.exponents()], axis=1)
        slopes = np.stack([by_u @ self.coefficients, by_v @ self.coefficients], axis=2) / self.scale
        return np.asarray(slopes + np.eye(2))

    def inverse(self, ref_xy: ArrayLike, *, missing_ok: bool = False) -> FloatArray:
        """Target map xy whose corrected xy is ``ref_xy``, by Newton's method, exact to 1e-9 of the scale.

        Where the model folds, far from its tie points, there is none: that is NaN if ``missing_ok``.

        Raises
        ------
        FitError
            There is none, and that is not ``missing_ok``.
        """
        ref = np.asarray(ref_xy, float).reshape(-1, 2)
        tgt = ref - self.displacement(ref)
        if self.degree > 0:
            with np.errstate(all="ignore"):
                tgt = self._newton(tgt, ref)
        if not missing_ok and np.isnan(tgt).any():
            raise FitError(
                f"the {self.kind} model cannot be inverted at {int(np.isnan(tgt).any(axis=1).sum())} of {len(tgt)} places, "
                "too far from where it was fitted; choose a simpler --model"
            )
        return tgt

    def _newton(self, tgt: FloatArray, ref: FloatArray) -> FloatArray:
        """Climb from ``tgt`` to where the model gives ``ref``; NaN where it does not arrive, or behind a fold."""
        for _ in range(50):
            miss = ref - self(tgt)
            arrived = np.abs(miss).max(axis=1) <= 1e-9 * self.scale
            if arrived.all():
                break
            (a, b), (c, d) = np.moveaxis(self.jacobian(tgt), 0, -1)
            step = np.stack([d * miss[:, 0] - b * miss[:, 1], a * miss[:, 1] - c * miss[:, 0]], axis=1)
            tgt = tgt + step / (a * d - b * c)[:, None]
        folded = np.linalg.det(self.jacobian(tgt)) <= 0 if self.degree > 1 else np.zeros(len(tgt), bool)
        return np.where((arrived & ~folded)[:, None], tgt, np.nan)

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
            "kind": self.kind,
            "origin_xy": list(self.origin_xy),
            "scale": self.scale,
            "exponents": [list(pair) for pair in self.exponents()],
            "coefficients": self.coefficients.tolist(),
        }


class Translation(PolynomialDisplacement):
    """One shift for the whole raster.

    >>> import numpy as np
    >>> tgt_xy = np.array([[0.0, 0.0], [100.0, 0.0]])
    >>> Translation.fit(tgt_xy, tgt_xy + [5, -3])(np.array([[50.0, 50.0]])).tolist()
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


LADDER: dict[str, type[PolynomialDisplacement]] = {
    model.kind: model for model in (Translation, Similarity, Affine, Polynomial2, Polynomial3)
}
"""Every model by its kind, the simplest first."""


def identity() -> Translation:
    """The correction that moves nothing."""
    return Translation((0.0, 0.0), 1.0, np.zeros((1, 2)))


def from_transform(transform: AffineTransform, origin_xy: FloatArray, scale: float) -> Affine:
    """The model that an affine map of map coordinates is, in coordinates about ``origin_xy``.

    >>> from affine import Affine as Transform
    >>> from_transform(Transform(0, -1, 0, 1, 0, 0), np.array([10.0, 0.0]), 5.0)([[3.0, 4.0]]).round(9).tolist()
    [[-4.0, 3.0]]
    """
    a, b, c, d, e, f = transform[:6]
    x, y = (float(v) for v in origin_xy)
    constant = (a * x + b * y + c - x, d * x + e * y + f - y)
    coefficients = np.array([constant, ((a - 1) * scale, d * scale), (b * scale, (e - 1) * scale)])
    return Affine((x, y), scale, coefficients)


def from_dict(values: dict[str, Any]) -> PolynomialDisplacement:
    """The model that `to_dict` described.

    Raises
    ------
    InputError
        The values do not describe a model of this version.
    """
    try:
        model = LADDER[values["kind"]]
        x, y = values["origin_xy"]
        made = model((float(x), float(y)), float(values["scale"]), np.asarray(values["coefficients"], float))
        _check_values(made, values)
        return made
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(
            f"not a georeg model ({exc!r}); expected kind, one of {', '.join(LADDER)}, origin_xy, scale and "
            "coefficients"
        ) from exc


def _check_values(model: PolynomialDisplacement, values: dict[str, Any]) -> None:
    if values.get("exponents", terms := [list(pair) for pair in model.exponents()]) != terms:
        raise ValueError(f"exponents are not {terms}")
    if not (model.scale > 0 and np.isfinite([*model.origin_xy, model.scale, *model.coefficients.ravel()]).all()):
        raise ValueError("a number is not finite, or the scale not above 0")
