"""Jobs of a SLURM array, through submitit; its local executor runs the same jobs on this machine."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError
from .cluster import Outcome, last_line
from .share import Share

CLUSTERS = ("slurm", "local")
MINUTES = 1440
# Key of --slurm to submitit's parameter; those of `_SLURM` mean nothing to its local executor.
_NUMBERS = {"array": "", "time": "timeout_min", "cpus_per_task": "cpus_per_task", "gpus_per_node": "gpus_per_node"}
_WORDS = ("partition", "account", "qos", "mem", "mem_per_cpu", "mem_per_gpu", "constraint", "gres", "nodelist")
_MORE = ("exclude", "exclusive", "comment", "dependency", "mail_type", "mail_user", "wckey")
_SBATCH = ("reservation", "licenses", "nice")
_SLURM = (*_WORDS, *_MORE, *_SBATCH, "parallel", "cpus_per_gpu")
KEYS = (*_NUMBERS, "cluster", *_SLURM)


def read_options(text: str) -> dict[str, str]:
    """`key=value,key=value`; a word without "=" belongs to the value in front of it (`nodelist=a,b`).

    Raises:
        MMFairseqError: a key is unknown or there twice, a value is missing or not possible.
    """
    options: dict[str, str] = {}
    key = ""
    for word in text.split(","):
        name, equals, value = word.partition("=")
        name, value = name.strip().replace("-", "_"), value.strip()
        if not equals and key:
            options[key] += f",{word.strip()}"
            continue
        if name not in KEYS or not value:
            raise MMFairseqError(f"--slurm: {word.strip()!r}: expected KEY=VALUE; keys: {', '.join(KEYS)}")
        if name in options:
            raise MMFairseqError(f"--slurm: {name} is there twice")
        key, options[name] = name, value
    for name in (*_NUMBERS, "parallel", "cpus_per_gpu"):
        if name in options and not (options[name].isdecimal() and int(options[name])):
            raise MMFairseqError(f"--slurm {name}={options[name]}: expected a whole number, at least 1")
    if "array" not in options:
        raise MMFairseqError("--slurm: array=N is missing, the number of jobs")
    if options.get("cluster", CLUSTERS[0]) not in CLUSTERS:
        raise MMFairseqError(f"--slurm cluster={options['cluster']}: allowed are {', '.join(CLUSTERS)}")
    if options.get("cluster") == "local" and (unfit := [name for name in options if name in _SLURM]):
        raise MMFairseqError(f"--slurm cluster=local: {unfit[0]} is for SLURM only")
    return options


class Slurm:
    """The engine.

    Args:
        text: as `read_options` takes it.
        workers: cores of a job, where `cpus_per_task` does not say.

    Raises:
        MMFairseqError: an option is wrong, or submitit or SLURM is not there.
    """

    def __init__(self, text: str, workers: int | None = None) -> None:
        self.options = read_options(text)
        self.ranks = int(self.options["array"])
        self.cpus = int(self.options.get("cpus_per_task", workers or 1))
        self.cluster = self.options.get("cluster", CLUSTERS[0])
        if self.cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise MMFairseqError(
                "--slurm: no sbatch or srun on this machine; run this where jobs are submitted, or add cluster=local "
                "to have the jobs run here"
            )
        self._running: dict[int, Any] = {}
        self.parameters()

    @cached_property
    def _submitit(self) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise MMFairseqError(f"--slurm needs submitit ({error}): pip install 'mm-fairseq[slurm]'") from error
        return submitit

    def parameters(self) -> dict[str, Any]:
        """As submitit's AutoExecutor takes them."""
        self._submitit  # noqa: B018
        options = self.options
        told: dict[str, Any] = {"name": "mm-fairseq", "stderr_to_stdout": True, "timeout_min": MINUTES}
        told |= {name: int(options[key]) for key, name in _NUMBERS.items() if name and key in options}
        told["cpus_per_task"] = self.cpus
        told |= {f"slurm_{key}": options[key] for key in (*_WORDS, *_MORE) if key in options}
        if options.get("exclusive", "").lower() == "true":
            told["slurm_exclusive"] = True
        if "cpus_per_gpu" in options:
            told["slurm_cpus_per_gpu"] = int(options["cpus_per_gpu"])
        if "parallel" in options:
            told["slurm_array_parallelism"] = int(options["parallel"])
        if more := {key: options[key] for key in _SBATCH if key in options}:
            told["slurm_additional_parameters"] = more
        return told

    def start(self, run: Callable[[Share], str], shares: Sequence[Share], folder: Path) -> None:
        """Submit an array of jobs; their logs and what submitit keeps lie in `folder`."""
        executor = self._submitit.AutoExecutor(folder=folder, cluster=self.cluster)
        executor.update_parameters(**self.parameters())
        try:
            jobs = executor.map_array(Requeued(self._submitit, run), shares)
        except self._submitit.core.utils.FailedJobError as error:
            raise MMFairseqError(f"--slurm: sbatch did not take the jobs: {last_line(str(error))}") from error
        self._running = {share.rank: job for share, job in zip(shares, jobs, strict=True)}

    def ended(self) -> Iterator[Outcome]:
        """Jobs that have a result, or that SLURM says have ended without."""
        utils = self._submitit.core.utils
        for rank in [rank for rank, job in self._running.items() if job.done()]:
            job = self._running.pop(rank)
            try:
                error = job.result()
            except utils.FailedJobError as failure:
                error = f"the job failed: {_reason(str(failure))}"
            except utils.UncompletedJobError as failure:
                error = f"the job was ended ({job.state}): {_reason(str(failure))}"
            yield Outcome(rank, error, str(job.paths.stdout))

    def stop(self) -> None:
        """Cancel what still runs or waits."""
        for job in self._running.values():
            job.cancel(check=False)
        limit = time.monotonic() + 10
        while self.cluster == "local" and time.monotonic() < limit and not all(map(_done, self._running.values())):
            time.sleep(0.1)

    def close(self) -> None:
        """Nothing is left open."""


class Requeued:
    """A job that SLURM ends for time or for others is put into the queue again, and goes on where it was.

    Args:
        submitit: the library.
        run: what the job does.
    """

    def __init__(self, submitit: Any, run: Callable[[Share], str]) -> None:
        self._again, self.run = submitit.helpers.DelayedSubmission, run

    def __call__(self, share: Share) -> str:
        return self.run(share)

    def checkpoint(self, share: Share) -> Any:
        """What is submitted in its place: the same, which finds its finished shards."""
        return self._again(self, share)


def _done(job: Any) -> bool:
    return job.done()


def _reason(text: str) -> str:
    """Of submitit's report: the error of the job, not where to find it."""
    return last_line(text.split("You can check full logs")[0])
