"""Poses of scenes whose every pixel is computed where it looks, so that the truth is exact."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from georeg.matching.pose import Pose, poses_by_structure
from georeg.matching.pose_features import poses_by_features

SIDE = 240


def looked_at(
    matrix: np.ndarray, shape: tuple[int, int] = (SIDE, SIDE), *, seed: int = 0, sign: float = 1.0
) -> np.ndarray:
    """(1, height, width): soft-edged random rectangles, seen at the reference px to which ``matrix`` takes each pixel."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    at = (matrix[:, :1] * x.ravel() + matrix[:, 1:2] * y.ravel() + matrix[:, 2:]).reshape(2, *shape)
    pixels = np.zeros(shape)
    for _ in range(90):
        middle, half = rng.uniform(-40, SIDE + 40, 2), rng.uniform(4, 24, 2)
        turn, height = rng.uniform(0, math.pi), rng.normal()
        u = math.cos(turn) * (at[0] - middle[0]) + math.sin(turn) * (at[1] - middle[1])
        v = math.cos(turn) * (at[1] - middle[1]) - math.sin(turn) * (at[0] - middle[0])
        inside = np.clip(half[0] - np.abs(u), 0, 1) * np.clip(half[1] - np.abs(v), 0, 1)
        pixels += height * inside
    noise = 0.05 * np.random.default_rng(seed + 1).normal(size=shape)
    return (sign * (pixels + noise))[None].astype(np.float32)


def similarity(
    turn_deg: float, scale: float, shift_px: tuple[float, float] = (0.0, 0.0), side: int = SIDE
) -> np.ndarray:
    """Target px -> reference px, turned about the centres."""
    cosine, sine = scale * math.cos(math.radians(turn_deg)), scale * math.sin(math.radians(turn_deg))
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, SIDE / 2 + np.array(shift_px) - linear @ [side / 2, side / 2]])


def corner_error_px(pose: Pose, truth: np.ndarray, shape: tuple[int, int] = (SIDE, SIDE)) -> float:
    corners = np.array([(x, y, 1) for x in (0, shape[1]) for y in (0, shape[0])])
    return float(np.linalg.norm(corners @ (pose.matrix - truth).T, axis=1).max())


def all_valid(image: np.ndarray) -> np.ndarray:
    return np.ones(image.shape[1:], bool)


IDENTITY = similarity(0, 1)


@pytest.mark.parametrize(
    ("turn_deg", "scale", "shift_px"),
    [
        (0, 1, (0, 0)),
        (33, 1, (20, -10)),
        (-147, 1.3, (-15, 8)),
        (90, 0.6, (30, 20)),
        (180, 1, (0, 25)),
        (-71, 0.4, (50, 9)),
    ],
)
@pytest.mark.parametrize("search", [poses_by_features, poses_by_structure])
def test_known_pose_is_found(search, turn_deg, scale, shift_px):
    truth = similarity(turn_deg, scale, shift_px)
    ref, tgt = looked_at(IDENTITY), looked_at(truth)
    best = search(ref, all_valid(ref), tgt, all_valid(tgt))[0]
    assert corner_error_px(best, truth) < 3


@pytest.mark.parametrize("scale", [0.26, 3.5])
def test_structure_reaches_the_ends_of_the_range(scale):
    side = round(SIDE * min(1 / scale, 1.6))
    truth = similarity(20, scale, side=side)
    ref, tgt = looked_at(IDENTITY), looked_at(truth, (side, side))
    best = poses_by_structure(ref, all_valid(ref), tgt, all_valid(tgt))[0]
    assert corner_error_px(best, truth, (side, side)) < 3 * max(1, scale)


def test_structure_ignores_the_sign_of_contrast():
    truth = similarity(50, 0.9)
    ref, tgt = looked_at(IDENTITY), looked_at(truth, sign=-1)
    best = poses_by_structure(ref, all_valid(ref), np.concatenate([tgt, -2 * tgt]), all_valid(tgt), scale=(0.5, 2))[0]
    assert corner_error_px(best, truth) < 3


@pytest.mark.parametrize("search", [poses_by_features, poses_by_structure])
def test_invalid_pixels_have_no_influence(search):
    truth = similarity(65, 1)
    ref, tgt = looked_at(IDENTITY), looked_at(truth)
    diamond = np.abs(np.indices((SIDE, SIDE)) - SIDE / 2).sum(axis=0) < 0.62 * SIDE
    found = []
    for filler in (0.0, 1e4):
        found.append(search(ref, all_valid(ref), np.where(diamond, tgt, np.float32(filler)), diamond))
    assert corner_error_px(found[0][0], truth) < 3
    assert np.array_equal([p.matrix for p in found[0]], [p.matrix for p in found[1]])


def test_structure_keeps_to_its_limits():
    ref, tgt = looked_at(IDENTITY), looked_at(similarity(40, 1.5))
    poses = poses_by_structure(ref, all_valid(ref), tgt, all_valid(tgt), rotation_deg=0, scale=(1, 1), n_candidates=3)
    assert 0 < len(poses) <= 3
    for pose in poses:
        assert np.allclose(pose.matrix[:, :2], np.eye(2))
    for pose in poses_by_structure(ref, all_valid(ref), tgt, all_valid(tgt), rotation_deg=20, scale=(0.8, 1.2)):
        size, turn = np.linalg.norm(pose.matrix[:, 0]), np.degrees(np.arctan2(pose.matrix[1, 0], pose.matrix[0, 0]))
        assert 0.8 - 1e-6 <= size <= 1.2 + 1e-6
        assert abs(turn) <= 20 + 1e-6


def test_right_pose_stands_out_from_chance():
    ref, tgt, other = looked_at(IDENTITY), looked_at(similarity(25, 1.1)), looked_at(similarity(25, 1.1), seed=7)
    right, wrong = (
        poses_by_structure(ref, all_valid(ref), image, all_valid(ref), scale=(0.5, 2))[0].score
        for image in (tgt, other)
    )
    assert right > 1.7 * wrong
    assert poses_by_features(ref, all_valid(ref), other, all_valid(ref)) == []


@pytest.mark.parametrize("search", [poses_by_features, poses_by_structure])
def test_candidates_come_best_first_and_the_same_whatever_the_threads(search):
    ref, tgt = looked_at(IDENTITY), looked_at(similarity(-20, 0.8))
    before, found = cv2.getNumThreads(), []
    try:
        for threads in (1, 2, 2):
            cv2.setNumThreads(threads)
            found.append(search(ref, all_valid(ref), tgt, all_valid(tgt)))
    finally:
        cv2.setNumThreads(before)
    scores = [pose.score for pose in found[0]]
    assert scores == sorted(scores, reverse=True)
    for again in found[1:]:
        assert np.array_equal([p.matrix for p in found[0]], [p.matrix for p in again])


@pytest.mark.parametrize("search", [poses_by_features, poses_by_structure])
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (7, 90), (12, 12), (9, 200)])
def test_tiny_image_is_no_error(search, shape):
    ref, tgt = looked_at(IDENTITY), looked_at(IDENTITY, shape)
    for pose in [*search(ref, all_valid(ref), tgt, all_valid(tgt)), *search(tgt, all_valid(tgt), ref, all_valid(ref))]:
        assert np.isfinite(pose.matrix).all()


@pytest.mark.parametrize("search", [poses_by_features, poses_by_structure])
def test_nothing_to_see_gives_no_pose(search):
    image = looked_at(IDENTITY)
    nothing = np.zeros((SIDE, SIDE), bool)
    flat = np.full_like(image, 7)
    speck = nothing.copy()
    speck[100:103, 50:53] = True
    for other, valid in ((image, nothing), (flat, ~nothing), (image, speck), (np.full_like(image, np.nan), nothing)):
        assert search(image, ~nothing, other, valid) == []
        assert search(other, valid, image, ~nothing) == []
