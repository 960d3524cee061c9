"""The graphics card gives what the processor gives. Where there is none, a stand-in that refuses what CuPy refuses shows that
both are kept apart; where there is one, it is used itself."""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import rasterio
from scenes import image, scene

import georeg
from georeg import resampling
from georeg.cli import main
from georeg.device import arrays_of, check_device, obstacle
from georeg.errors import InputError
from georeg.matching import phase
from georeg.matching.phase import correlate
from georeg.options import DeviceKind
from georeg.resampling import Kernel, Positions, interpolate, positions

SMOOTH: tuple[Kernel, ...] = tuple(kernel for kernel in get_args(Kernel) if kernel != "nearest")
FAST = georeg.MatchOptions(preset="fast")
INSTALL = r'pip install "georeg\[cuda\]"'

FUNCTIONS = (
    "abs", "clip", "concatenate", "conj", "exp", "floor", "matmul", "maximum", "minimum", "nan_to_num", "ones", "rint",
    "sign", "sqrt", "stack", "take", "take_along_axis", "where",
)  # fmt: skip
"""What the stand-in has of CuPy's functions, and what georeg may use."""
METHODS = ("argmax", "astype", "clip", "copy", "max", "mean", "reshape", "sum", "take", "transpose")
KEYWORDS = {"axis", "keepdims", "nan"}
BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "lt", "le", "gt", "ge", "eq")


class OnCard:
    """An array of the stand-in: it becomes one of NumPy's by ``get`` alone, and mixes with none."""

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any, card: Card) -> None:
        self._array, self._card = np.asarray(array), card
        if self._array.dtype in (np.float64, np.complex128):
            card.largest_double = max(card.largest_double, self._array.size)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed; use get()")

    def get(self) -> Any:
        self._card.fetched.append(self._array.shape)
        return self._array.copy()

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype"):
            return getattr(self._array, name)
        if name in ("real", "imag", "T"):
            return OnCard(getattr(self._array, name), self._card)
        if name in METHODS:
            return self._card.function(getattr(self._array, name))
        raise AttributeError(name)

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[OnCard]:
        return (self[k] for k in range(len(self._array)))

    def __getitem__(self, key: Any) -> OnCard:
        parts = key if isinstance(key, tuple) else (key,)
        assert all(part is None or isinstance(part, int | slice) for part in parts)
        return OnCard(self._array[key], self._card)

    def __bool__(self) -> bool:
        raise AssertionError("whoever asks waits for the card")

    def __neg__(self) -> OnCard:
        return OnCard(-self._array, self._card)

    def __invert__(self) -> OnCard:
        return OnCard(~self._array, self._card)


def _operators(name: str) -> None:
    apply, plain = getattr(operator, name), name.rstrip("_")
    setattr(OnCard, f"__{plain}__", lambda self, other: self._card.function(apply)(self, other))
    setattr(OnCard, f"__r{plain}__", lambda self, other: self._card.function(apply)(other, self))


for _name in BINARY:
    _operators(_name)


class Card(ModuleType):
    """Stands for CuPy."""

    float32, complex64 = np.float32, np.complex64

    def __init__(self) -> None:
        super().__init__("card")
        self.__version__ = "stand-in"
        self.sent: list[tuple[int, ...]] = []
        self.fetched: list[tuple[int, ...]] = []
        self.largest_double = 0
        self.fft = SimpleNamespace(rfft2=self._rfft2, irfft2=self._irfft2)
        self.cuda = SimpleNamespace(compiler=SimpleNamespace(CompileException=ArithmeticError))

    def asarray(self, array: Any) -> OnCard:
        assert isinstance(array, np.ndarray)
        self.sent.append(array.shape)
        return OnCard(array.copy(), self)

    def function(self, function: Any) -> Any:
        """One of NumPy's that takes and gives arrays of the card alone."""

        def call(*args: Any, **kwargs: Any) -> OnCard:
            assert kwargs.keys() <= KEYWORDS
            with np.errstate(all="ignore"):  # a card does not tell
                return OnCard(function(*(self._own(arg) for arg in args), **kwargs), self)

        return call

    def _own(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            raise TypeError("unsupported type numpy.ndarray")
        if isinstance(value, list):
            return [self._own(part) for part in value]
        return value._array if isinstance(value, OnCard) else value

    def _rfft2(self, a: OnCard, axes: tuple[int, int] = (-2, -1)) -> OnCard:
        return OnCard(np.fft.rfft2(a._array, axes=axes).astype(np.complex64), self)

    def _irfft2(self, a: OnCard, s: tuple[int, int], axes: tuple[int, int]) -> OnCard:
        return OnCard(np.fft.irfft2(a._array, s=s, axes=axes).astype(np.float32), self)

    def __getattr__(self, name: str) -> Any:
        if name not in FUNCTIONS:
            raise AttributeError(name)
        return self.function(getattr(np, name))


@pytest.fixture
def fresh() -> Iterator[None]:
    """What was found of a card is forgotten before and after."""
    obstacle.cache_clear()
    yield
    obstacle.cache_clear()


@pytest.fixture
def without_cupy(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, fresh: None) -> Card:
    """The stand-in in the place of CuPy."""
    made = Card()
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


@pytest.fixture
def real_card() -> ModuleType:
    missing = obstacle()
    if missing is not None:
        pytest.skip(missing)
    return importlib.import_module("cupy")


def windows(side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """(N, side, side) of a texture and of it moved, the first of them flat, the second inverted."""
    spectrum = scene(3, side=256)
    parts = []
    for move_px, seed in (((0.0, 0.0), 1), ((1.3, -2.4), 5)):
        pixels = 3000 + 400 * image(spectrum, move_px, noise=0.1, seed=seed)[0]
        starts = range(0, 256 - side + 1, side // 4)
        parts.append(np.stack([pixels[row : row + side, col : col + side] for row in starts for col in starts]))
    ref, tgt = parts
    ref[0] = 3000
    tgt[1] *= -1
    return ref, tgt


def source(dtype: str) -> tuple[np.ndarray, np.ndarray, Positions]:
    """Data, valid and positions, some of them nowhere and some beyond the image."""
    rng = np.random.default_rng(0)
    data = rng.normal(1000, 200, (2, 90, 100)).astype(dtype)
    if np.iscomplexobj(data):
        data = data + 1j * rng.normal(0, 200, data.shape).astype(dtype)
    valid = np.ones(data.shape, bool)
    valid[1, 20:40, 30:60] = False
    col, row = np.meshgrid(np.arange(0, 97, 16.0), np.arange(0, 81, 16.0))
    nodes = np.stack([12 + 1.1 * col - 0.2 * row, 8 + 0.15 * col + 0.9 * row])
    nodes[:, 0, 0] = np.nan
    return data, valid, positions(nodes, (3.0, 5.0), 16, (64, 80))


def assert_same_shifts(arrays: ModuleType) -> None:
    ref, tgt = windows()
    ours, theirs = correlate(ref, tgt), correlate(ref, tgt, arrays)
    np.testing.assert_allclose(theirs.shift_px, ours.shift_px, atol=1e-3)
    np.testing.assert_allclose(theirs.cov_px, ours.cov_px, rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(theirs.score, ours.score, atol=1e-3)
    np.testing.assert_allclose(theirs.significance, ours.significance, rtol=1e-3)


def assert_same_values(arrays: ModuleType, kernel: Kernel, dtype: str) -> None:
    data, valid, at = source(dtype)
    values, known = interpolate(data, valid, at, (-2, 3), reduce=1, kernel=kernel)
    values2, known2 = interpolate(data, valid, at, (-2, 3), reduce=1, kernel=kernel, arrays=arrays)
    assert isinstance(values2, np.ndarray)
    assert values2.dtype == values.dtype
    np.testing.assert_array_equal(known2, known)
    assert 0.3 < known.mean() < 1
    np.testing.assert_allclose(values2[known], values[known], rtol=0, atol=1e-9 if dtype == "float64" else 5e-3)
    assert not values2[~known].any()


def test_a_card_correlates_as_the_processor_does(card: Card) -> None:
    assert_same_shifts(card)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("kernel", get_args(Kernel))
def test_a_card_interpolates_as_the_processor_does(card: Card, kernel: Kernel, dtype: str) -> None:
    assert_same_values(card, kernel, dtype)


def test_a_real_card_correlates_as_the_processor_does(real_card: ModuleType) -> None:
    assert_same_shifts(real_card)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("kernel", get_args(Kernel))
def test_a_real_card_interpolates_as_the_processor_does(real_card: ModuleType, kernel: Kernel, dtype: str) -> None:
    assert_same_values(real_card, kernel, dtype)


def test_cupy_has_what_the_stand_in_has() -> None:
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    assert not [name for name in FUNCTIONS if not hasattr(cupy, name)]
    assert not [name for name in METHODS if not hasattr(cupy.ndarray, name)]


def test_the_stand_in_refuses_what_cupy_refuses(card: Card) -> None:
    there, here = card.asarray(np.ones(3)), np.ones(3)
    for mix in (lambda: there + here, lambda: here + there, lambda: card.exp(here), lambda: np.asarray(there)):
        with pytest.raises(TypeError):
            mix()


def test_batches_go_to_the_card_once_and_come_back_once(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    ref, tgt = windows()
    correlate(ref, tgt, card)  # the tables
    card.sent.clear()
    card.fetched.clear()
    monkeypatch.setattr(phase, "BATCH_PX", 60 * 64 * 64)
    correlate(ref, tgt, card)
    n = len(ref)
    assert n == 169
    assert [shape for shape in card.sent if len(shape) > 2] == [(2, m, 64, 64) for m in (60, 60, 49)]
    assert [shape for shape in card.sent if len(shape) < 2] == [(4,)] * 3  # a constant
    assert card.fetched == [(60, 8), (60, 8), (49, 8)]


def test_nothing_as_large_as_windows_is_in_double_precision(card: Card) -> None:
    ref, tgt = windows()
    correlate(ref, tgt, card)
    assert 0 < card.largest_double <= len(ref) * 64


def test_a_block_goes_to_the_card_once_and_comes_back_once(card: Card) -> None:
    data, valid, at = source("float32")
    interpolate(data, valid, at, (-2, 3), reduce=1, kernel="cubic", arrays=card)
    large = [shape for shape in card.sent if np.prod(shape) >= at.px[0].size]
    assert large == [data.shape, valid.shape, at.px.shape]
    assert card.fetched == [(2, 64, 80)] * 2


@pytest.mark.parametrize("kernel", SMOOTH)
def test_numpy_without_a_compiler_does_what_a_card_does(
    card: Card, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "_library", None)
    data, valid, at = source("float32")
    here = interpolate(data, valid, at, (-2, 3), reduce=1, kernel=kernel)
    there = interpolate(data, valid, at, (-2, 3), reduce=1, kernel=kernel, arrays=card)
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize("kernel", SMOOTH)
def test_on_a_card_too_a_part_is_where_the_whole_has_it(card: Card, kernel: Kernel) -> None:
    data, valid, at = source("float32")
    part = Positions(at.px[:, 10:50, 7:70], at.low, at.high)
    whole = interpolate(data, valid, at, (-2, 3), reduce=1, kernel=kernel, arrays=card)
    for ours, theirs in zip(
        interpolate(data, valid, part, (-2, 3), reduce=1, kernel=kernel, arrays=card), whole, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs[:, 10:50, 7:70])


def test_the_processor_needs_no_cupy(without_cupy: None) -> None:
    assert arrays_of("cpu") is np
    assert arrays_of("auto") is np
    check_device("auto", None)


def test_what_is_no_device_is_refused() -> None:
    with pytest.raises(InputError, match=r"'gpu'; give one of cpu, cuda, auto"):
        arrays_of("gpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", ["align", "match"])
def test_cuda_without_cupy_is_refused_before_any_work(
    verb: str, shift_pair: tuple[str, str], tmp_path: Path, without_cupy: None, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    assert main([verb, *shift_pair, "-o", str(output), "--device", "cuda"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert 'run pip install "georeg[cuda]", or leave --device cuda out' in said[0]
    assert not output.exists()


def test_cuda_without_cupy_is_refused_by_every_function(
    shift_alignment: georeg.Alignment, tmp_path: Path, without_cupy: None
) -> None:
    target, path = shift_alignment.points.inputs.target, tmp_path / "a.tif"
    for call in (
        lambda: shift_alignment.write(path, device="cuda"),
        lambda: georeg.apply_all(shift_alignment, tmp_path / "all", [target], device="cuda"),
        lambda: georeg.align("absent.tif", target, device="cuda"),
        lambda: list(georeg.align_all("absent.tif", [target], tmp_path / "all", device="cuda")),
    ):
        with pytest.raises(InputError, match=INSTALL):
            call()
    assert not list(tmp_path.iterdir())


def test_a_card_that_cannot_compute_is_none(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    def insufficient(*_: Any) -> Any:
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    monkeypatch.setattr(card, "ones", insufficient, raising=False)
    assert arrays_of("auto") is np
    with pytest.raises(InputError, match=r"CuPy stand-in cannot compute.*no CUDA-capable device.*nvidia-smi"):
        arrays_of("cuda")


def test_other_processes_look_for_a_card_of_their_own(without_cupy: None) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(InputError, match=INSTALL):
        check_device("cuda", threads)
    with ProcessPoolExecutor(1) as processes:
        check_device("cuda", processes)


def test_a_worker_without_a_card_says_so(shift_pair: tuple[str, str]) -> None:
    if obstacle() is None:
        pytest.skip("the workers of this machine have a graphics card")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(InputError, match=INSTALL):
        georeg.match(*shift_pair, matching=FAST, executor=pool, device="cuda")


def test_auto_without_a_card_is_the_processor(shift_pair: tuple[str, str], without_cupy: None) -> None:
    here, auto = (georeg.match(*shift_pair, matching=FAST, device=device) for device in ("cpu", "auto"))
    assert auto == here


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_the_fast_preset_matches_on_the_card(device: DeviceKind, shift_pair: tuple[str, str], card: Card) -> None:
    here = georeg.match(*shift_pair, matching=FAST)
    assert not card.sent
    there = georeg.match(*shift_pair, matching=FAST, device=device)
    assert any(len(shape) == 4 for shape in card.sent)
    np.testing.assert_array_equal(there.status, here.status)
    np.testing.assert_allclose(there.tgt_xy, here.tgt_xy, rtol=0, atol=1e-3 * here.gsd)


def test_resampled_pixels_are_the_cards_to_their_rounding(
    shift_alignment: georeg.Alignment, tmp_path: Path, card: Card
) -> None:
    written = {}
    for device in ("cpu", "cuda"):
        path = tmp_path / f"{device}.tif"
        shift_alignment.write(path, georeg.WriteOptions(resample=True), device=device)
        with rasterio.open(path) as dataset:
            written[device] = dataset.read(), dataset.dataset_mask()
        assert bool(card.sent) == (device == "cuda")
    (here, mask), (there, mask2) = written["cpu"], written["cuda"]
    np.testing.assert_array_equal(mask2, mask)
    apart = np.abs(there.astype(int) - here.astype(int))
    assert apart.max() <= 1  # halves round either way
    assert (apart > 0).mean() < 1e-3
