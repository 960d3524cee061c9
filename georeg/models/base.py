"""What every correction has in common: target map xy -> corrected map xy, one direction only, and how certain it is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from affine import Affine as AffineTransform
from numpy.typing import ArrayLike, NDArray

from georeg.errors import FitError

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


def root_of(matrices: FloatArray) -> FloatArray:
    """R (N, 2, 2) whose Rᵀ R is the positive semidefinite matrix."""
    values, axes = principal_axes(matrices)
    return np.asarray(np.sqrt(values)[:, :, None] * axes)


@dataclass(frozen=True, eq=False)
class Model:
    """A displacement (reference − target) as a function of the centred and scaled map coordinates of the target.

    Map northings as they are would ruin the conditioning.
    """

    kind: ClassVar[str]

    origin_xy: tuple[float, float]
    """Centre of the coordinates, map units."""
    scale: float
    """Map units that count as one in the scaled coordinates."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), np.ndarray):
                array = np.array(value, float)
                array.flags.writeable = False
                object.__setattr__(self, field.name, array)

    def _identity(self) -> tuple[Any, ...]:
        values = [getattr(self, field.name) for field in fields(self)]
        return (self.kind, *(v.tobytes() if isinstance(v, np.ndarray) else v for v in values))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    @classmethod
    def n_terms(cls) -> int:
        """Unknowns per axis, which is also the least number of tie points."""
        raise NotImplementedError

    @property
    def freedom(self) -> float:
        """Unknowns of both axes together that the tie points decided."""
        return 2.0 * self.n_terms()

    @classmethod
    def fit(cls, tgt_xy: ArrayLike, ref_xy: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """Weighted least squares.

        Parameters
        ----------
        tgt_xy, ref_xy
            (N, 2) map coordinates of the same features in the target and in the reference.
        weights
            (N,) inverse variances or (N, 2, 2) inverse covariances of ``ref_xy − tgt_xy``, map units⁻². Without any, all
            points weigh alike, and their variance is that of the residuals.

        Raises
        ------
        FitError
            Fewer points than terms, or points that do not span the plane.
        """
        raise NotImplementedError

    def refit(self, tgt_xy: ArrayLike, ref_xy: ArrayLike, weights: ArrayLike | None = None) -> Self:
        """A model of this kind, and as smooth as this one is, fitted to other points or weights; see `fit`."""
        return type(self).fit(tgt_xy, ref_xy, weights)

    def _scaled(self, tgt_xy: ArrayLike) -> FloatArray:
        """(N, 2) coordinates of order one."""
        return np.asarray((np.asarray(tgt_xy, float).reshape(-1, 2) - self.origin_xy) / self.scale)

    def _displacement(self, uv: FloatArray) -> FloatArray:
        """(N, 2) map units at scaled coordinates."""
        raise NotImplementedError

    def _slopes(self, uv: FloatArray) -> FloatArray:
        """(N, 2, 2) derivatives of the displacement (rows) by scaled coordinates (columns), map units."""
        raise NotImplementedError

    def covariance_at(self, tgt_xy: ArrayLike) -> FloatArray:
        """Covariance (N, 2, 2) of the corrected position at target map xy, map units squared.

        Of the model's unknowns, as the tie points that it was fitted to hold them: it grows away from these.
        """
        raise NotImplementedError

    def less_certain(self, variance: float) -> Self:
        """The same model with a covariance that is larger everywhere by ``variance`` on each axis, map units squared."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": self.kind, "origin_xy": list(self.origin_xy), "scale": self.scale}

    @classmethod
    def from_values(cls, origin_xy: tuple[float, float], scale: float, values: dict[str, Any]) -> Self:
        """The model of `to_dict`; raises KeyError, TypeError or ValueError for what is none."""
        raise NotImplementedError

    def displacement(self, tgt_xy: ArrayLike) -> FloatArray:
        """Displacement (reference − target) at target map xy, (N, 2) map units, +x east, +y north."""
        return self._displacement(self._scaled(tgt_xy))

    def __call__(self, tgt_xy: ArrayLike) -> FloatArray:
        """Corrected map xy of target map xy, (N, 2)."""
        return np.asarray(tgt_xy, float).reshape(-1, 2) + self.displacement(tgt_xy)

    def jacobian(self, tgt_xy: ArrayLike) -> FloatArray:
        """(N, 2, 2) derivatives of corrected xy (rows) by target xy (columns)."""
        return np.asarray(self._slopes(self._scaled(tgt_xy)) / self.scale + np.eye(2))

    def inverse(self, ref_xy: ArrayLike, *, missing_ok: bool = False) -> FloatArray:
        """Target map xy whose corrected xy is ``ref_xy``, by Newton's method, exact to 1e-9 of the scale.

        Where the model folds, far from its tie points, there is none: that is NaN if ``missing_ok``.

        Raises
        ------
        FitError
            There is none, and that is not ``missing_ok``.
        """
        ref = np.asarray(ref_xy, float).reshape(-1, 2)
        with np.errstate(all="ignore"):
            tgt = self._newton(ref - self.displacement(ref), ref)
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
        return np.where((arrived & ~self._folded(tgt))[:, None], tgt, np.nan)

    def _folded(self, tgt: FloatArray) -> NDArray[np.bool_]:
        """(N,) True behind a fold; an affine map has none, though it may mirror."""
        return np.asarray(np.linalg.det(self.jacobian(tgt)) <= 0)

    @property
    def still(self) -> bool:
        """Whether it moves nothing."""
        return False

    @property
    def affine(self) -> AffineTransform | None:
        """The same as an affine map of map coordinates, or None where it is not one."""
        return None


@dataclass(frozen=True)
class Problem:
    """A weighted least squares problem in the coordinates of one model."""

    uv: FloatArray
    """(N, 2) scaled coordinates."""
    displacement: FloatArray
    """(N, 2) map units."""
    precision: FloatArray
    """(N, 2, 2) inverse covariances, map units⁻²."""
    origin_xy: tuple[float, float]
    scale: float
    usable: int
    """Points that weigh anything."""
    stated: bool
    """Whether the precision was given: else only its ratios mean something."""


def problem(
    model: type[Model], tgt_xy: ArrayLike, ref_xy: ArrayLike, weights: ArrayLike | None, frame: Model | None = None
) -> Problem:
    """The points in coordinates about their weighted centre, or in those of a model that is there already.

    Raises
    ------
    FitError
        Fewer points than the model has terms.
    """
    tgt, ref = np.asarray(tgt_xy, float), np.asarray(ref_xy, float)
    precision = np.ones(len(tgt)) if weights is None else np.asarray(weights, float)
    if precision.ndim == 1:
        precision = precision[:, None, None] * np.eye(2)
    weight = np.trace(precision, axis1=1, axis2=2) / 2
    told = weight > 0
    tgt, ref, precision, weight, usable = tgt[told], ref[told], precision[told], weight[told], int(told.sum())
    if usable < model.n_terms():
        raise FitError(
            f"{usable} tie points for a model of kind {model.kind}, which needs {model.n_terms()}; "
            "choose a simpler --model or lower --spacing-px"
        )
    if frame is None:
        x, y = np.average(tgt, axis=0, weights=weight)
        scale = float(np.sqrt(np.average(((tgt - (x, y)) ** 2).sum(1), weights=weight))) or 1.0
    else:
        (x, y), scale = frame.origin_xy, frame.scale
    origin_xy = (float(x), float(y))
    return Problem((tgt - origin_xy) / scale, ref - tgt, precision, origin_xy, scale, usable, weights is not None)


def solve(rows: FloatArray, values: FloatArray, given: Problem, model: type[Model]) -> tuple[FloatArray, FloatArray]:
    """Unknowns (p,) and their covariance (p, p) from derivatives (N, 2, p) and values (N, 2).

    Raises
    ------
    FitError
        The points do not hold all unknowns.
    """
    largest = np.trace(given.precision, axis1=1, axis2=2).max() / 2
    root = root_of(given.precision / largest)
    n_unknowns = rows.shape[2]
    weighted, observed = (root @ rows).reshape(-1, n_unknowns), (root @ values[..., None]).ravel()
    left, held, right = np.linalg.svd(weighted, full_matrices=False)
    rank = int((held > 1e-10 * held.max(initial=0)).sum())
    if rank < n_unknowns:
        raise FitError(
            f"{given.usable} tie points that lie on too few lines, or are known in too few directions, for a model of kind "
            f"{model.kind} (they hold {rank} of its {n_unknowns} coefficients); choose a simpler --model"
        )
    spread = right.T / held
    unknowns = spread @ (left.T @ observed)
    variance = 1 / largest
    if not given.stated:
        freedom = max(len(observed) - n_unknowns, 1)
        variance = float(((observed - weighted @ unknowns) ** 2).sum()) / freedom
    return unknowns, variance * (spread @ spread.T)


def propagated(rows: FloatArray, covariance: FloatArray) -> FloatArray:
    """(N, 2, 2) of derivatives (N, 2, p) by unknowns whose covariance is (p, p)."""
    return np.asarray(rows @ covariance @ rows.swapaxes(1, 2))
