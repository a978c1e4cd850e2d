"""Tell what is installed, what works (each by a small real trial) and how to mend what does not."""

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import versions
from . import _trials

PACKAGES = (
    "mm-fairseq",
    "torch",
    "torchaudio",
    "torchvision",
    "fairseq-fixed",
    "hydra-core",
    "numpy",
    "scikit-learn",
    "soundfile",
    "soxr",
    "av",
    "opencv-python-headless",
    "sentencepiece",
    "fastBPE",
    "matplotlib",
    "tensorboardX",
)
MATCHED = "torch==2.11.0 torchaudio==2.11.0 torchvision==0.26.0"
REINSTALL = "pip install --constraint constraints.txt --force-reinstall --no-deps {}"


class Check(NamedTuple):
    """One thing that must work.

    Args:
        name: what works, in the user's words.
        trial: does it once; returns a few words on what was seen, raises whatever goes wrong.
        mend: what to do when it raises.
        required: whether the exit status depends on it.
    """

    name: str
    trial: Callable[[], str]
    mend: str
    required: bool = True


CHECKS = (
    Check("tensors", _trials.torch_computes, f"pip install {MATCHED}"),
    Check(
        "fairseq and plugin",
        _trials.plugin_registers,
        "run `make .venv`, or pip install --no-build-isolation fairseq-fixed",
    ),
    Check("audio features (torchaudio)", _trials.torchaudio_computes, ""),
    Check("picture models (torchvision)", _trials.torchvision_computes, ""),
    Check("audio files (soundfile)", _trials.audio_round_trip, REINSTALL.format("soundfile")),
    Check("resampling (soxr)", _trials.audio_resamples, REINSTALL.format("soxr")),
    Check("video files (PyAV)", _trials.video_round_trip, REINSTALL.format("av")),
    Check("face finder (OpenCV 4)", _trials.faces_load, REINSTALL.format("opencv-python-headless")),
    Check("sentencepiece", _trials.sentencepiece_trains, REINSTALL.format("sentencepiece")),
    Check(
        "fastBPE", _trials.fastbpe_applies, "pip install cython, then pip install --no-build-isolation fastBPE==0.1.0"
    ),
    Check("pictures (matplotlib)", _trials.pictures_draw, REINSTALL.format("matplotlib")),
    Check("GPU (CUDA)", _trials.cuda_computes, "install the driver of the GPU, where there is one", required=False),
    Check("TensorBoard logs", _trials.tensorboard_logs, "pip install tensorboardX", required=False),
    Check("Weights & Biases logs", _trials.wandb_logs, "pip install wandb", required=False),
    Check("Hugging Face folders", _trials.hugging_face_encodes, "pip install 'mm-fairseq[hf]'", required=False),
    Check("openSMILE features", _trials.opensmile_analyses, "pip install 'mm-fairseq[opensmile]'", required=False),
    Check("frames and Parquet", _trials.frames_round_trip, "pip install 'mm-fairseq[pandas]'", required=False),
    Check("labels in HDF5 (h5py)", _trials.hdf5_round_trip, "pip install 'mm-fairseq[hdf5]'", required=False),
    Check("graphs (PyTorch Geometric)", _trials.graphs_convolve, "pip install 'mm-fairseq[graph]'", required=False),
    Check("jobs of SLURM (submitit)", _trials.jobs_run, "pip install 'mm-fairseq[slurm]'", required=False),
    Check("tasks of Ray", _trials.ray_starts, "pip install 'mm-fairseq[ray]'", required=False),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> int:
    """Print both tables; 1 when something required does not work."""
    console = Console()
    installed = Table(title="Installed")
    installed.add_column("package")
    installed.add_column("version")
    installed.add_row("Python", platform.python_version())
    for package in PACKAGES:
        installed.add_row(package, version_of(package) or "[red]missing[/]")
    console.print(installed)

    works = Table(title="Works")
    for heading in ("", "what", "seen", "s"):
        works.add_column(heading, justify="right" if heading == "s" else "left", overflow="fold")
    broken, mends = 0, []
    for check in CHECKS:
        start = time.perf_counter()
        with console.status(f"trying {check.name}"):
            problem, seen = attempt(check)
        mark = "[green]ok[/]" if problem is None else "[red]broken[/]" if check.required else "[yellow]absent[/]"
        broken += check.required and problem is not None
        works.add_row(mark, check.name, escape(seen), f"{time.perf_counter() - start:.1f}")
        if problem is not None:
            mends.append(f"{check.name}{'' if check.required else ' (optional)'}: {mend(check, problem)}")
    console.print(works)
    for line in mends:
        console.print(f"to mend  {line}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{broken} required {'thing is' if broken == 1 else 'things are'} broken" if broken else "all well")
    return int(broken > 0)


def attempt(check: Check) -> tuple[Exception | None, str]:
    """Run a trial: what it raised, or None, and what was seen."""
    try:
        with silenced_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return None, check.trial()
    except Exception as error:  # noqa: BLE001 - a broken library may raise anything, and the doctor must go on
        lines = str(error).strip().splitlines() or [""]
        return error, f"{type(error).__name__}: {lines[0][:200]}" if not isinstance(error, _trials.Broken) else lines[0]


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Keep what compiled libraries write to the file descriptor of stderr off the terminal."""
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def mend(check: Check, problem: Exception) -> str:
    """What to do about a failed trial."""
    if check.mend:
        return check.mend
    builds = {name: version_of(name) or "missing" for name in ("torch", "torchaudio", "torchvision")}
    seen = ", ".join(f"{name} {number}" for name, number in builds.items())
    if isinstance(problem, ImportError) and "missing" in builds.values():
        return f"pip install {MATCHED}"
    return (
        f"these three must be one matched set from one index, all for CUDA or all for the CPU; here: {seen}. "
        f"pip install --force-reinstall {MATCHED}"
    )


def version_of(package: str) -> str | None:
    """Installed version of a distribution."""
    return versions.installed([package]).get(package)
