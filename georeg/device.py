"""The graphics card, where there is one: which array library computes. The only place that knows CuPy."""

from __future__ import annotations

import importlib
import logging
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache
from types import ModuleType
from typing import get_args

import numpy as np

from georeg.errors import InputError
from georeg.options import DeviceKind

_log = logging.getLogger(__name__)


def arrays_of(device: DeviceKind) -> ModuleType:
    """NumPy, or CuPy where the graphics card is asked for.

    >>> arrays_of("cpu").__name__
    'numpy'

    Raises
    ------
    InputError
        ``cuda`` is asked for and cannot be used.
    """
    if device not in get_args(DeviceKind):
        raise InputError(f"the device is {device!r}; give one of {', '.join(get_args(DeviceKind))}")
    if device == "cpu":
        return np
    missing = obstacle()
    if missing is None:
        return importlib.import_module("cupy")
    if device == "cuda":
        raise InputError(f"the graphics card cannot be used: {missing}, or leave --device cuda out")
    return np


def check_device(device: DeviceKind, executor: Executor | None) -> None:
    """Make sure, before any work, that the device is there. Other processes look for one of their own when they start to work.

    Raises
    ------
    InputError
        It is not.
    """
    if executor is None or isinstance(executor, ThreadPoolExecutor):
        arrays_of(device)


@lru_cache
def obstacle() -> str | None:
    """Why CuPy cannot be used in this process, and what to do about it; None where it can."""
    try:
        cupy = importlib.import_module("cupy")
    except (ImportError, OSError) as exc:
        found = f'CuPy cannot be imported ({_reason(exc)}); run pip install "georeg[cuda]"'
    else:
        try:
            _try_out(cupy)
            return None
        except (RuntimeError, ImportError, OSError, MemoryError, cupy.cuda.compiler.CompileException) as exc:
            found = (
                f"CuPy {cupy.__version__} cannot compute on one ({_reason(exc)}); look with nvidia-smi whether there is an "
                'NVIDIA card with a driver for CUDA 12, run pip install "georeg[cuda]"'
            )
    _log.info("no graphics card is used: %s", found)
    return found


def _try_out(cupy: ModuleType) -> None:
    """Compile, transform and multiply a little: each needs another library of CUDA's."""
    some = cupy.ones((4, 4), cupy.float32)
    cupy.matmul(cupy.fft.rfft2(some), cupy.ones((3, 2), cupy.complex64)).get()


def _reason(exc: BaseException) -> str:
    return " ".join(f"{type(exc).__name__}: {exc}".split()).rstrip(":. ")
