"""What pairs of scenes say of the corrections of both, condensed, and the corrections that this gives: sparse least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from georeg.errors import FitError
from georeg.lazily import Lazily
from georeg.models import FloatArray
from georeg.models.polynomial import PolynomialDisplacement

sparse, splu = Lazily("scipy.sparse"), Lazily("scipy.sparse.linalg")
REACH = 1.2247
"""Half the side of a square whose points have a root mean square distance of 1 from its middle."""


@dataclass(frozen=True, eq=False)
class Ties:
    """What a pair of scenes says: N tie points in the CRS of the stack."""

    ref: int
    """Number of the scene that was the reference of the pair."""
    tgt: int
    ref_xy: FloatArray
    """(N, 2) as the scene's own georeferencing has them."""
    tgt_xy: FloatArray
    """(N, 2) as the scene's own georeferencing has them."""
    precision: FloatArray
    """(N, 2, 2) inverse covariances, map units⁻²; zero for what is a mismatch or is withheld to check."""


@dataclass(frozen=True)
class Frame:
    """The coordinates in which all corrections are expressed, and the richest kind of them."""

    kind: type[PolynomialDisplacement]
    origin_xy: tuple[float, float]
    scale: float

    @property
    def n_terms(self) -> int:
        """Coefficients of both axes."""
        return 2 * len(self.kind.exponents())

    def rows(self, xy: FloatArray) -> FloatArray:
        """(N, 2, m) displacements per coefficient."""
        uv = (xy - np.array(self.origin_xy)) / self.scale
        design = self.kind._design(uv)
        rows = np.zeros((len(uv), 2, design.shape[1], 2))
        rows[:, 0, :, 0] = rows[:, 1, :, 1] = design
        return np.asarray(rows.reshape(len(uv), 2, 2 * design.shape[1]))

    def ground(self) -> FloatArray:
        """(25, 2) places all over the ground, to the edges of a square that is covered evenly."""
        side = np.linspace(-REACH, REACH, 5) * self.scale
        x, y = np.meshgrid(side, side)
        return np.asarray(np.stack([x.ravel(), y.ravel()], axis=1) + self.origin_xy)

    def of(self, model: PolynomialDisplacement) -> tuple[FloatArray, FloatArray]:
        """Coefficients (m,) in this frame of a model that is no richer, and their covariance (m, m)."""
        xy = self.ground()
        back = np.linalg.pinv(self.rows(xy).reshape(-1, self.n_terms))
        turned = back @ model._rows(model._scaled(xy)).reshape(len(back.T), -1)
        return np.asarray(back @ model.displacement(xy).ravel()), np.asarray(turned @ model.covariance @ turned.T)

    def basis(self, kind: type[PolynomialDisplacement]) -> FloatArray:
        """(m, p) coefficients of this frame per unknown of a simpler kind."""
        own = kind._unknowns()
        return np.concatenate([own, np.zeros((self.n_terms - len(own), own.shape[1]))])


@dataclass(frozen=True, eq=False)
class Evidence:
    """Normal equations of K pairs: ``information`` · effect = ``right`` + ``across`` · θ_ref − ``information`` · θ_tgt."""

    ref: NDArray[np.intp]
    """(K,) number of a scene."""
    tgt: NDArray[np.intp]
    information: FloatArray
    """(K, m, m)"""
    across: FloatArray
    """(K, m, m)"""
    right: FloatArray
    """(K, m)"""
    values: FloatArray = field(init=False)
    """(K, m) eigenvalues of the information, 0 for what is not known."""
    vectors: FloatArray = field(init=False)
    """(K, m, m) its eigenvectors, in columns."""

    def __post_init__(self) -> None:
        values, vectors = np.linalg.eigh(self.information)
        object.__setattr__(self, "values", np.where(values > 1e-9 * values[:, -1:], values, 0.0))
        object.__setattr__(self, "vectors", vectors)

    @property
    def rank(self) -> NDArray[np.intp]:
        """(K,) directions known."""
        return np.asarray((self.values > 0).sum(axis=1))

    def subset(self, chosen: NDArray[np.bool_]) -> Evidence:
        """Of some pairs."""
        return Evidence(*(getattr(self, n)[chosen] for n in ("ref", "tgt", "information", "across", "right")))

    def less(self, other: Evidence) -> Evidence:
        """Without what another, of the same pairs, is of."""
        arrays = (getattr(self, n) - getattr(other, n) for n in ("information", "across", "right"))
        return Evidence(self.ref, self.tgt, *arrays)

    def weights(self, noise: Noise) -> FloatArray:
        """(K, m, m) inverse covariances of what is left of the normal equations."""
        spread = noise.kappa * self.values + noise.variance * self.values**2
        with np.errstate(divide="ignore"):
            inverse = np.where(self.values > 0, 1 / spread, 0.0)
        return np.asarray((self.vectors * inverse[:, None, :]) @ self.vectors.swapaxes(1, 2))

    def left(self, theta: FloatArray) -> FloatArray:
        """(K, m) what the corrections (N, m) leave of the normal equations."""
        return np.asarray(self.right + _times(self.across, theta[self.ref]) - _times(self.information, theta[self.tgt]))

    def effect(self, theta: FloatArray) -> FloatArray:
        """(K, m) by which each pair departs from the corrections, where it is known."""
        with np.errstate(divide="ignore"):
            inverse = np.where(self.values > 0, 1 / self.values, 0.0)
        return _times((self.vectors * inverse[:, None, :]) @ self.vectors.swapaxes(1, 2), self.left(theta))

    def misclosure2(self, theta: FloatArray, noise: Noise) -> FloatArray:
        """(K,) of each pair, as a χ² variable."""
        left = self.left(theta)
        return np.asarray(np.einsum("ki,kij,kj->k", left, self.weights(noise), left))


@dataclass(frozen=True)
class Noise:
    """How pairs err beside their tie points."""

    kappa: float = 1.0
    """Share of the tie points' own variance that is not common to all pairs of a scene: what is common closes all loops."""
    variance: float = 0.0
    """Of the effect of a pair, of each coefficient, map units²."""


@dataclass(frozen=True, eq=False)
class Network:
    """Which corrections are unknown, and of what kind."""

    frame: Frame
    kinds: tuple[type[PolynomialDisplacement] | None, ...]
    """Of each of N scenes; None for one that is held."""
    theta: FloatArray
    """(N, m) coefficients, of those that are held."""
    covariance: FloatArray
    """(N, m, m) of those that are held."""

    @property
    def free(self) -> list[int]:
        """Numbers of the scenes to correct."""
        return [k for k, kind in enumerate(self.kinds) if kind is not None]

    @property
    def is_mean(self) -> bool:
        """Whether no scene is held, so that the mean of all is."""
        return len(self.free) == len(self.kinds)

    def bases(self) -> list[FloatArray]:
        """Of each scene to correct."""
        return [self.frame.basis(kind) for kind in self.kinds if kind is not None]

    @property
    def n_unknowns(self) -> int:
        """Unknowns, less what holding the mean decides."""
        sizes = [basis.shape[1] for basis in self.bases()]
        return int(sum(sizes) - (min(sizes) if self.is_mean else 0))


@dataclass(frozen=True, eq=False)
class Solution:
    """Corrections of all scenes."""

    theta: FloatArray
    """(N, m) coefficients."""
    covariance: FloatArray
    """(N, m, N, m) of all of them; of scenes that are held, none with others."""

    def own(self) -> FloatArray:
        """(N, m, m) of each by itself."""
        n = len(self.theta)
        return np.asarray(self.covariance[np.arange(n), :, np.arange(n), :])


def condense(frame: Frame, ties: Sequence[Ties], chosen: Sequence[NDArray[np.bool_]] | None = None) -> Evidence:
    """Normal equations of pairs, of all or the ``chosen`` (N,) tie points of each."""
    m, n = frame.n_terms, len(ties)
    information, across, right = np.zeros((n, m, m)), np.zeros((n, m, m)), np.zeros((n, m))
    for k, tie in enumerate(ties):
        told = tie.precision[:, 0, 0] > 0
        told &= True if chosen is None else chosen[k]
        ref_rows, tgt_rows = frame.rows(tie.ref_xy[told]), frame.rows(tie.tgt_xy[told])
        weighted = (tie.precision[told] @ tgt_rows).reshape(-1, m).T
        information[k] = weighted @ tgt_rows.reshape(-1, m)
        across[k] = weighted @ ref_rows.reshape(-1, m)
        right[k] = weighted @ (tie.ref_xy - tie.tgt_xy)[told].ravel()
    information = (information + information.swapaxes(1, 2)) / 2
    ref, tgt = np.array([tie.ref for tie in ties], np.intp), np.array([tie.tgt for tie in ties], np.intp)
    return Evidence(ref, tgt, information, across, right)


def solve(network: Network, evidence: Evidence, noise: Noise, share: FloatArray | None = None) -> Solution:
    """Corrections by weighted least squares; each pair counts by its ``share`` (K,), 0 to 1.

    Raises
    ------
    FitError
        The pairs do not hold all of them.
    """
    n, m = network.theta.shape
    system = System(network, evidence, noise, share)
    inverse = system.inverse()
    covariance = (system.select @ (system.select @ inverse).T).reshape(n, m, n, m)
    fixed = [k for k, kind in enumerate(network.kinds) if kind is None]
    covariance[fixed, :, fixed, :] = network.covariance[fixed]
    return Solution(system.theta(), covariance)


def corrections(network: Network, evidence: Evidence, noise: Noise) -> FloatArray:
    """(N, m) as `solve`, without their covariance."""
    return System(network, evidence, noise).theta()


class System:
    """The normal equations of all unknowns, factorised."""

    def __init__(self, network: Network, evidence: Evidence, noise: Noise, share: FloatArray | None = None) -> None:
        n, m = network.theta.shape
        self.network, self.select = network, _selection(network)
        weights = evidence.weights(noise) * (1.0 if share is None else share[:, None, None])
        design = np.concatenate([evidence.across, -evidence.information], axis=2)
        left = design.swapaxes(1, 2) @ weights
        at = np.concatenate([scene[:, None] * m + np.arange(m) for scene in (evidence.ref, evidence.tgt)], axis=1)
        shape = (*at.shape, 2 * m)
        places = np.broadcast_to(at[:, :, None], shape).ravel(), np.broadcast_to(at[:, None, :], shape).ravel()
        normal = sparse.coo_matrix(((left @ design).ravel(), places), shape=(n * m, n * m)).tocsc()
        held = -_times(left, evidence.left(network.theta))
        self.right = self.select.T @ np.bincount(at.ravel(), held.ravel(), minlength=n * m)
        self.size = len(self.right)
        reduced = self.select.T @ normal @ self.select
        self.scale = float(reduced.diagonal().mean()) or 1.0
        try:
            self.factors = splu.splu(_bordered(network, reduced / self.scale))
        except RuntimeError as exc:  # singular
            raise _unheld() from exc

    def theta(self) -> FloatArray:
        """(N, m) coefficients of all scenes."""
        right = np.zeros(self.factors.shape[0])
        right[: self.size] = self.right / self.scale
        unknowns = self.factors.solve(right)[: self.size]
        if not np.isfinite(unknowns).all():
            raise _unheld()
        return np.asarray(self.network.theta + (self.select @ unknowns).reshape(self.network.theta.shape))

    def inverse(self) -> FloatArray:
        """Covariance of the unknowns."""
        inverse = self.factors.solve(np.eye(self.factors.shape[0], self.size))[: self.size]
        if not np.isfinite(inverse).all() or (np.diag(inverse) < 0).any():
            raise _unheld()
        return np.asarray((inverse + inverse.T) / (2 * self.scale))


def _selection(network: Network) -> Any:
    """(N m, unknowns) coefficients per unknown, sparse."""
    m = network.frame.n_terms
    bases = iter(network.bases())
    blocks = [np.zeros((m, 0)) if kind is None else next(bases) for kind in network.kinds]
    return sparse.block_diag([sparse.csc_matrix(block) for block in blocks], format="csc")


def _bordered(network: Network, normal: Any) -> Any:
    """Sparse equations; where the mean is held, with what all kinds have in common about them."""
    if not network.is_mean:
        return normal.tocsc()
    bases = network.bases()
    common = min(bases, key=lambda basis: int(basis.shape[1]))
    border = sparse.csc_matrix(np.concatenate([common.T @ basis for basis in bases], axis=1))
    return sparse.bmat([[normal, border.T], [border, None]], format="csc")


def _unheld() -> FitError:
    return FitError(
        "the pairs do not hold the corrections of all scenes; choose a simpler --model, more --max-points or more --links"
    )


def misclosure_px(frame: Frame, evidence: Evidence, theta: FloatArray, gsd: float) -> FloatArray:
    """(K,) by which each pair departs from the corrections, root mean square over ground of the extent of all, pixels."""
    rows = frame.rows(frame.ground())
    moved = rows.reshape(-1, frame.n_terms) @ evidence.effect(theta).T
    return np.asarray(np.sqrt((moved**2).sum(axis=0) / len(rows)) / gsd)


def _times(matrices: FloatArray, vectors: FloatArray) -> FloatArray:
    """(K, m) of (K, m, n) and (K, n)."""
    return np.asarray(np.einsum("kij,kj->ki", matrices, vectors))
