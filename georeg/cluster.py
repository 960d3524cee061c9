"""Workers of Dask, on this machine or many, as an executor. The only place that knows Dask."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from georeg.errors import InputError
from georeg.lazily import Lazily
from georeg.options import ExecutionOptions

PATIENCE_S = 10.0
"""How long a scheduler may take to answer."""
_log = logging.getLogger(__name__)
distributed, dask_config = Lazily("distributed"), Lazily("dask.config")


@contextmanager
def cluster(options: ExecutionOptions) -> Iterator[Executor | None]:
    """The executor that was asked for, while this lasts; None where threads of ours are to do the work.

    Raises
    ------
    InputError
        Two are asked for, Dask is not installed, or the scheduler does not answer.
    """
    scheduler, n_workers = options.dask_scheduler, options.dask_local
    if scheduler is None and n_workers is None:
        yield None
        return
    if scheduler is not None and n_workers is not None:
        raise InputError("--dask-scheduler and --dask-local exclude each other; give one of them")
    if n_workers is not None and n_workers < 1:
        raise InputError(f"--dask-local is {n_workers}; give at least 1 worker")
    try:
        _ = distributed.Client
    except ImportError as exc:
        raise InputError(
            f'Dask is not installed ({exc}); run pip install "georeg[dask]", or leave --dask-scheduler and --dask-local out'
        ) from exc
    with _muted(), _local(n_workers) if n_workers is not None else _remote(scheduler) as client:
        yield client.get_executor()


@contextmanager
def _local(n_workers: int) -> Iterator[Any]:
    """A client of worker processes that are heard on this machine alone and end with this."""
    with (
        dask_config.set({"distributed.worker.profile.enabled": False}),  # it takes a third of the work's own time
        distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as local,
        distributed.Client(local) as client,
    ):
        client.run(exec, "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)")  # Ctrl-C is for us to hear
        yield client


@contextmanager
def _remote(address: str | None) -> Iterator[Any]:
    """A client of a scheduler that runs already."""
    if not re.fullmatch(r"(\w+://)?\S+:\d+", address or ""):
        raise InputError(f"{address} is not the address of a Dask scheduler; give --dask-scheduler tcp://HOST:PORT")
    try:
        client = distributed.Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as exc:  # TimeoutError is an OSError
        raise InputError(
            f"no Dask scheduler answers at {address} ({_reason(exc)}); start it with dask scheduler, or give "
            "another address"
        ) from exc
    with client:
        if not client.nthreads():
            _log.warning(f"the Dask scheduler at {address} has no workers yet; waiting for them")
        yield client


def _reason(exc: BaseException) -> str:
    return " ".join(f"{type(exc).__name__}: {exc}".split()).rstrip(":. ")


@contextmanager
def _muted() -> Iterator[None]:
    """What Dask logs of connections that end is no news where we end them; what matters is raised."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ("distributed", "tornado")]
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
