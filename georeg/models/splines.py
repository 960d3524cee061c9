"""Cubic B-splines over a lattice of cells: their values, their thin-plate energy, and sums over the places that they reach."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from georeg.models.base import FloatArray

_CUBIC = np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6
"""Row k: factor of t^k of the four cubic B-splines that reach into a cell, t from 0 to 1 across it."""
_SLOPE = _CUBIC[1:] * [[1], [2], [3]]
_ONE, _OTHER = np.triu_indices(16)
"""Pairs of the splines that reach into a cell, each once."""
_TIMES = np.where(_ONE == _OTHER, 1.0, 2.0)
"""How often each pair counts where both orders do."""
_REMEMBERED = 2000
"""For no more places than these their splines are kept: those of a fit, which come again in every round."""
_LEAST = 72
"""Matrices with no more rows than this are inverted at once."""


@dataclass(frozen=True, eq=False)
class Woven:
    """The splines that reach N places, on n by m cells."""

    index: NDArray[np.intp]
    """(N, 16) their numbers."""
    value: FloatArray
    """(N, 16) their values there."""
    size: int
    """Splines in all."""

    @classmethod
    def at(cls, places: FloatArray, n: int, m: int) -> Woven:
        """Of (N, 2) places in cells from the corner of the first."""
        if len(places) > _REMEMBERED:
            return _woven(places, n, m)
        return _remembered(places.tobytes(), n, m)

    @cached_property
    def _by_cell(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], FloatArray]:
        """Places sorted by cell (N,), where each cell begins (C,), pairs of its splines as numbers in a (size, size) matrix
        (C, 136), and the products of their values (N, 136) at the sorted places."""
        order = np.argsort(self.index[:, 0], kind="stable")
        index, value = self.index[order], self.value[order]
        begins = np.flatnonzero(np.diff(index[:, 0], prepend=-1))
        pairs = index[begins][:, _ONE] * self.size + index[begins][:, _OTHER]
        return order, begins, pairs, value[:, _ONE] * value[:, _OTHER]

    def summed(self, weights: FloatArray) -> FloatArray:
        """(size, size): Σ weight × spline × spline over the places, of weights (N,)."""
        order, begins, pairs, products = self._by_cell
        of_cells = np.add.reduceat(products * weights[order, None], begins, axis=0)
        half = np.bincount(pairs.ravel(), of_cells.ravel(), self.size**2).reshape(self.size, self.size)
        return np.asarray(half + np.triu(half, 1).T)

    def spread(self, matrix: FloatArray) -> FloatArray:
        """(N,): Σ spline × matrix × spline at each place, of a (size, size) matrix."""
        order, begins, pairs, products = self._by_cell
        of_cells = ((matrix + matrix.T) / 2).ravel()[pairs] * _TIMES
        n_each = np.diff(begins, append=len(order))
        sums = np.empty(len(order))
        sums[order] = np.einsum("nk,nk->n", products, np.repeat(of_cells, n_each, axis=0))
        return sums


@lru_cache(maxsize=4)
def _remembered(places: bytes, n: int, m: int) -> Woven:
    return _woven(np.frombuffer(places).reshape(-1, 2), n, m)


def _woven(places: FloatArray, n: int, m: int) -> Woven:
    (i, of_x, _), (j, of_y, _) = along(places[:, 0], n), along(places[:, 1], m)
    index = (i[:, None] + np.arange(4))[:, :, None] * (m + 3) + (j[:, None] + np.arange(4))[:, None, :]
    value = of_x[:, :, None] * of_y[:, None, :]
    return Woven(index.reshape(-1, 16), value.reshape(-1, 16), (n + 3) * (m + 3))


def along(at: FloatArray, n_cells: int) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """First of the four splines at places in cells, and their values and slopes (N, 4); beyond the cells they are lines."""
    inside = np.clip(np.nan_to_num(at), 0, n_cells)
    first = np.minimum(inside.astype(np.intp), n_cells - 1)
    power = (inside - first)[:, None] ** np.arange(4)
    slope = power[:, :3] @ _SLOPE
    return first, power @ _CUBIC + (at - inside)[:, None] * slope, slope


@lru_cache(maxsize=32)
def bending(n_cells: int, m_cells: int) -> FloatArray:
    """Thin-plate energy ∫ f_xx² + 2 f_xy² + f_yy² of splines on n by m cells of side 1."""
    x, y = ([_gram(cells, order) for order in range(3)] for cells in (n_cells, m_cells))
    return np.asarray(np.kron(x[2], y[0]) + 2 * np.kron(x[1], y[1]) + np.kron(x[0], y[2]))


def _gram(n_cells: int, order: int) -> FloatArray:
    """∫ of the products of the splines' derivatives of an order, along n cells."""
    factor = _CUBIC
    for _ in range(order):
        factor = factor[1:] * np.arange(1, len(factor))[:, None]
    powers = np.arange(len(factor))
    of_one = factor.T @ (1 / (powers[:, None] + powers + 1)) @ factor
    gram = np.zeros((n_cells + 3, n_cells + 3))
    for k in range(n_cells):
        gram[k : k + 4, k : k + 4] += of_one
    return gram


def inverse(matrix: FloatArray) -> FloatArray:
    """Inverse of a positive definite (k, k) matrix, by its quarters: in less than half the time of all at once.

    Raises
    ------
    numpy.linalg.LinAlgError
        It is not positive definite.
    """
    if len(matrix) <= _LEAST:
        np.linalg.cholesky(matrix)  # raises
        return np.asarray(np.linalg.inv(matrix))
    half = len(matrix) // 2
    xx, xy, yy = inverse_quarters(matrix[:half, :half], matrix[:half, half:], matrix[half:, half:])
    return np.block([[xx, xy], [xy.T, yy]])


def inverse_quarters(xx: FloatArray, xy: FloatArray, yy: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The same quarters of the inverse of the positive definite matrix [[xx, xy], [xyᵀ, yy]]; see `inverse`."""
    of_xx = inverse(xx)
    carried = of_xx @ xy
    of_yy = inverse(yy - xy.T @ carried)
    beside = -carried @ of_yy
    return of_xx - beside @ carried.T, beside, of_yy
