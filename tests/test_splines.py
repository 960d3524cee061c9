"""Sums over splines and inverses by their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from georeg.models.splines import Woven, bending, inverse, inverse_quarters

N_CELLS, M_CELLS = 3, 5
SIZE = (N_CELLS + 3) * (M_CELLS + 3)


def places(n):
    """Also beyond the cells, where splines are lines."""
    return np.random.default_rng(n).uniform(-1, 1, (n, 2)) * (N_CELLS, M_CELLS) * 0.6 + (N_CELLS / 2, M_CELLS / 2)


def dense(woven):
    """(N, size) every spline at every place."""
    values = np.zeros((len(woven.index), SIZE))
    np.put_along_axis(values, woven.index, woven.value, axis=1)
    return values


@pytest.mark.parametrize("n", [1, 40, 2500])
def test_sums_over_places_are_those_of_all_splines(n):
    rng, woven = np.random.default_rng(0), Woven.at(places(n), N_CELLS, M_CELLS)
    weights, root = rng.uniform(size=n), rng.normal(size=(SIZE, SIZE))
    values = dense(woven)
    assert woven.summed(weights) == pytest.approx((values.T * weights) @ values, abs=1e-9)
    assert (woven.summed(weights) == woven.summed(weights).T).all()
    for matrix in (root, root @ root.T):
        assert woven.spread(matrix) == pytest.approx(np.einsum("nk,kl,nl->n", values, matrix, values), abs=1e-6)


def test_splines_sum_to_one_everywhere():
    assert Woven.at(places(40), N_CELLS, M_CELLS).value.sum(axis=1) == pytest.approx(np.ones(40))


def test_what_is_remembered_belongs_to_its_places_and_cells():
    at = places(9)
    seen = [Woven.at(at, 3, 5), Woven.at(at + 0.1, 3, 5), Woven.at(at, 5, 3)]
    assert Woven.at(at.copy(), 3, 5).value.tolist() == seen[0].value.tolist()
    assert len({woven.value.tobytes() for woven in seen}) == 3


def test_a_plane_does_not_bend():
    x, y = np.meshgrid(np.arange(N_CELLS + 3), np.arange(M_CELLS + 3), indexing="ij")
    energy = bending(N_CELLS, M_CELLS)
    for flat in (np.ones_like(x), x, y):
        assert energy @ flat.ravel() == pytest.approx(np.zeros(SIZE), abs=1e-9)
    assert (x**2).ravel() @ energy @ (x**2).ravel() > 1


@pytest.mark.parametrize("size", [1, 2, 50, 73, 301])
def test_an_inverse_by_quarters_is_the_inverse(size):
    root = np.random.default_rng(size).normal(size=(size, 2 * size))
    matrix = root @ root.T
    assert inverse(matrix) @ matrix == pytest.approx(np.eye(size), abs=1e-8)


def test_the_quarters_may_be_of_unequal_size():
    root = np.random.default_rng(0).normal(size=(7, 20))
    matrix = root @ root.T
    xx, xy, yy = inverse_quarters(matrix[:3, :3], matrix[:3, 3:], matrix[3:, 3:])
    assert np.block([[xx, xy], [xy.T, yy]]) @ matrix == pytest.approx(np.eye(7), abs=1e-9)


@pytest.mark.parametrize("at", [0, 40, 99])
def test_a_matrix_that_is_not_positive_definite_has_none(at):
    matrix = np.eye(100)
    matrix[at, at] = -1e-6
    with pytest.raises(np.linalg.LinAlgError):
        inverse(matrix)
