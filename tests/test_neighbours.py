"""Neighbours and parts by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from georeg.neighbours import connected, nearest


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60), st.sampled_from([0.0, 1e-3, 1.0]))
def test_the_nearest_are_those_of_the_least_distances(seed, n, n_places, flatness):
    rng = np.random.default_rng(seed)
    xy = np.concatenate([rng.normal(size=(n, 2)), 100 + rng.normal(size=(n, 2))]) * (1, flatness) + (5e5, 5e6)
    at_xy = rng.normal(size=(n_places, 2)) * 60 + (5e5, 5e6)
    k = int(rng.integers(1, len(xy) + 1))
    apart = np.hypot(*np.moveaxis(at_xy[:, None] - xy, -1, 0))
    found = np.take_along_axis(apart, nearest(at_xy, xy, k), axis=1)
    assert found == pytest.approx(np.sort(apart, axis=1)[:, :k], abs=1e-8)


def test_of_equally_near_places_the_first_are_taken():
    xy = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert nearest(np.zeros((1, 2)), xy, 3).tolist() == [[0, 1, 2]]


def test_places_that_coincide_are_neighbours():
    assert nearest(np.zeros((2, 2)), np.zeros((3, 2)), 3).tolist() == [[0, 1, 2], [0, 1, 2]]


def test_nowhere_has_no_neighbours():
    assert nearest(np.zeros((0, 2)), np.zeros((3, 2)), 2).shape == (0, 2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(0, 120))
def test_parts_are_those_of_the_graph(seed, n, n_edges):
    one, other = np.random.default_rng(seed).integers(n, size=(2, n_edges))
    n_parts, part = connected_components(coo_array((np.ones(n_edges), (one, other)), shape=(n, n)), directed=False)
    least = np.full(n_parts, n)
    np.minimum.at(least, part, np.arange(n))
    assert connected(one, other, n).tolist() == least[part].tolist()


def test_a_long_chain_is_one_part():
    n = 1000
    assert not connected(np.arange(n - 1), np.arange(1, n), n).any()
