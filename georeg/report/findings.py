"""All that a report says of an alignment beyond the alignment itself, as numbers: `Findings`, a value for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

PlaceKind = Literal["best", "median", "worst"]
AxisKind = Literal["row", "column"]


@dataclass(frozen=True)
class Spread:
    """Radial residuals of the check points, working pixels."""

    n: int
    """Check points: those of `Accuracy`."""
    rmse: float
    """RMSEr = sqrt(RMSEx² + RMSEy²)."""
    median: float
    """Median radial residual."""
    ce90: float
    """90th percentile."""
    ce95: float
    """95th percentile."""
    largest: float
    """The largest."""


@dataclass(frozen=True)
class Statement:
    """What a standard has one say of an accuracy."""

    standard: str
    """Its name and year."""
    value: float
    """The figure in it, map units; of NMAS the denominator of the largest scale."""
    unit: str
    """Of the figure; ``1:`` for a scale."""
    n: int
    """Check points."""
    n_needed: int
    """Check points that the standard asks for: with fewer it is said that they are too few."""
    text: str
    """The statement, a sentence or two."""


@dataclass(frozen=True)
class Decomposition:
    """A correction in words: its best affine map, taken about the middle of the tie points, and what is left of it."""

    shift_x: float
    """East, map units, in the middle of the tie points."""
    shift_y: float
    """North, map units."""
    rotation_deg: float
    """Counter-clockwise."""
    scale_x: float
    """Factor on lengths along the target's east."""
    scale_y: float
    """Factor on lengths across that."""
    shear_deg: float
    """What is missing from the right angle of east and north."""
    bend_px: float
    """RMS displacement that no affine map describes, working pixels."""
    words: tuple[str, ...]
    """One sentence for each part that is there."""
    anomalies: tuple[str, ...]
    """What a target of this kind should not need, a sentence each."""


@dataclass(frozen=True)
class Likeness:
    """How alike two images are, the target's grey values scaled linearly to the reference's."""

    ncc: float
    """Normalised cross-correlation, −1 to 1."""
    ssim: float
    """Structural similarity, −1 to 1."""
    mse: float
    """Mean squared difference, as a share of the reference's variance."""
    nmi: float
    """Normalised mutual information, 1 to 2."""


@dataclass(frozen=True)
class Tile:
    """A window of the overlap, compared."""

    xy: tuple[float, float]
    """Its middle, working CRS."""
    before: Likeness
    after: Likeness


@dataclass(frozen=True)
class Similarity:
    """Medians over the tiles, and the tiles."""

    before: Likeness
    after: Likeness
    tile_px: int
    """Side of a tile, working pixels."""
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Bins:
    """Mean residual of the tie points by where they lie along one axis of the target."""

    axis: AxisKind
    centre_px: tuple[float, ...]
    """Middles of the bins, rows or columns of the target."""
    n: tuple[int, ...]
    """Tie points in each."""
    mean_x_px: tuple[float, ...]
    """East, working pixels."""
    mean_y_px: tuple[float, ...]
    """North."""
    sigma_px: tuple[float, ...]
    """Standard error of a mean, per axis."""
    chance: float
    """Probability that means differ as much by chance: small where there is jitter or banding."""


@dataclass(frozen=True)
class Place:
    """A check point to look at."""

    kind: PlaceKind
    point: int
    """Its number among the tie points, from 0."""
    xy: tuple[float, float]
    """In the reference, working CRS."""
    before_px: float
    """Radial residual without the correction, working pixels."""
    after_px: float
    """With it."""


@dataclass(frozen=True)
class SigmaMap:
    """Standard deviation of corrected positions by the model's covariance, on a lattice over the shared ground."""

    x: tuple[float, ...]
    """Eastings of the columns, working CRS."""
    y: tuple[float, ...]
    """Northings of the rows, the northernmost first."""
    sigma_px: tuple[tuple[float | None, ...], ...]
    """Radial, sqrt(σx² + σy²), by row and column, working pixels; None outside of the shared ground."""
    median_px: float
    largest_px: float


@dataclass(frozen=True)
class FalseChange:
    """What misregistration alone does to the difference of the two images: gradient times residual.

    By first order the difference of two images of unchanged ground that are displaced by d is d · gradient. The residuals
    of the check points say how large d is, their second moments M, so that its expected size is sqrt(gᵀ M g).
    """

    expected_before: float
    """RMS of the expected difference, as a share of the standard deviation of the reference."""
    expected_after: float
    observed_before: float
    """RMS of the difference there is, as the same share."""
    observed_after: float
    share_before: float
    """Share of pixels whose difference is no larger than is expected from misregistration alone."""
    share_after: float
    n_pixels: int
    """Pixels that were compared."""
    text: str
    """A statement for change detection, a sentence or two."""


@dataclass(frozen=True)
class Findings:
    """All that a report says beyond `Alignment.to_dict`."""

    verdict: str
    """One or two plain sentences: what was found, how well, and what to take care of."""
    before: Spread
    after: Spread
    statements: tuple[Statement, ...]
    """ASPRS 2023, NSSDA 1998 and NMAS 1947; none where map units are not lengths on the ground."""
    decomposition: Decomposition
    similarity: Similarity | None
    """None where no tile has both images."""
    bins: tuple[Bins, ...]
    """By row and by column; none with too few tie points."""
    places: tuple[Place, ...]
    """The best, the median and the worst check point."""
    sigma: SigmaMap
    false_change: FalseChange | None
    """None where no tile has both images."""
    command: str
    """A command that makes the alignment again."""
    made: str
    """When, ISO 8601 in UTC."""
    software: Mapping[str, str]
    """Versions of georeg and of what computes for it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
