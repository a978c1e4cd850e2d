"""Jobs as tasks of Ray, on a cluster that runs or one that is started on this machine."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError
from .cluster import Outcome, last_line
from .share import Share

LOCAL, AUTO = "local", "auto"
PATIENCE = 5.0  # seconds for a connection; Ray itself would try for minutes
MEMORY = 100 << 20  # bytes for Ray's store of objects on this machine: jobs give back a few words


class Ray:
    """The engine.

    Args:
        address: of a running cluster, HOST:PORT or ray://HOST:PORT, "auto" for the one on this machine, or "local" to
            start one.
        ranks: number of tasks; None for as many as the cluster has room for.
        workers: cores of a task.
        gpus: GPUs of a task; None for one where the cluster has any.

    Raises:
        MMFairseqError: Ray is not there, or cannot be reached, or has no room for a task.
    """

    def __init__(self, address: str, ranks: int | None, workers: int | None = None, gpus: int | None = 0) -> None:
        try:
            import ray
        except ImportError as error:
            raise MMFairseqError(f"--ray needs Ray ({error}): pip install 'mm-fairseq[ray]'") from error
        if ranks is not None and ranks < 1:
            raise MMFairseqError(f"--nshard {ranks}: at least 1")
        if address not in (LOCAL, AUTO):
            knock(address)
        self._ray, self.cpus = ray, workers or 1
        self._on_term = signal.getsignal(signal.SIGTERM)  # Ray puts in its own, and leaves it there
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell others of its use
        here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": MEMORY} if address == LOCAL else {}
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **here)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise MMFairseqError(f"--ray {address}: no cluster can be reached or started: {error}") from error
        found = ray.cluster_resources()
        self._gpus = int(found.get("GPU", 0) >= 1) if gpus is None else gpus
        room = int(found.get("CPU", 0)) // self.cpus
        if self._gpus:
            room = min(room, int(found.get("GPU", 0)) // self._gpus)
        if not room:
            self.close()
            raise MMFairseqError(
                f"--ray: a task needs {self.cpus} cores and {self._gpus} GPUs; in all the cluster has "
                f"{found.get('CPU', 0):g} and {found.get('GPU', 0):g}"
            )
        self.ranks = ranks or room
        self._running: dict[Any, int] = {}

    def start(self, run: Callable[[Share], str], shares: Sequence[Share], folder: Path) -> None:
        """Hand all tasks to Ray, which keeps its logs itself; a task whose machine is lost runs again elsewhere."""
        task = self._ray.remote(num_cpus=self.cpus, num_gpus=self._gpus, max_retries=3)(run_share)
        self._running = {task.remote(run, share): share.rank for share in shares}

    def ended(self) -> Iterator[Outcome]:
        """Tasks that have given back something, or were lost."""
        found, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        for reference in found:
            try:
                error = self._ray.get(reference)
            except self._ray.exceptions.RayError as failure:
                error = f"{type(failure).__name__}: {last_line(str(failure))}"
            yield Outcome(self._running.pop(reference), error)

    def stop(self) -> None:
        """End all tasks."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_term)


def knock(address: str) -> None:
    """See that something answers at the address of a cluster.

    Raises:
        MMFairseqError: nothing does, or it is no address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise MMFairseqError(f"--ray {address}: expected HOST:PORT, ray://HOST:PORT, {AUTO}, or no address")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise MMFairseqError(
            f"--ray {address}: nothing answers there ({getattr(error, 'strerror', None) or error}); see `ray status` "
            "on a machine of the cluster for its address"
        ) from error


def run_share(run: Callable[[Share], str], share: Share) -> str:
    """A task of Ray."""
    return run(share)
