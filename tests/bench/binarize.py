"""CPU-seconds a clip of `binarize` beside bare decoding and resampling; throughput of two workers beside one.

    python tests/bench/binarize.py [--clips N] [--size WxH] [--fps RATE] [--steps N] [--quick]

200 clips of 3 to 4 s: heads of the toy corpora who speak, 720x480 (IEMOCAP's size) at 25 frames a second in H.264 with
AAC at 48 kHz, 40 of them drawn and each of these five times. Binarized as by default: 16 kHz sound, faces followed,
five JPEGs of 256 x 256 pixels a second. What is done for a face does not grow with the picture, as decoding does: at
480x360 the ratio is higher, at 1280x720, which RAVDESS and MELD have, it is lower.

The limit of 1.2 is held against `reference`, which reads each clip whole, in the same process, by the same libraries:
PyAV's decoder on one thread and `to_ndarray(format="rgb24")` for every picture, PyAV and soxr for the sound; nothing is
looked for, cropped, compressed or written. It is the dearest of three ways to decode: FFmpeg starts threads for the
step to RGB of each picture, and their start counts. `one_thread` is the same with `threads=1` in that step, as binarize
has it, `decoded` without the step at all: binarize converts the pictures that it keeps only. `ratio_one_thread` and
`ratio_decoded` are binarize over these; no limit is set for them, and both are higher than `ratio`.

All are CPU-seconds, in turns, so that other programs disturb little. Throughput is wall time and wants a quiet machine
of two cores or more: `busy` is the share of the run with two workers in which they got no core.

`bounded` compares binarize, which decodes in a process held to bounds, with the same in one process: on the clips, and
on 2000 sounds of 3 s at 16 kHz in 16 bits, the dearest case, of which no sample has to be computed. Both ratios are
those of CPU-seconds, children included; `clock` is that of the times on the clock.

The last line is JSON; its `ratio` may not be above 1.2, that of `throughput` not below 1.7, that of `bounded` not above
1.1.
"""

import argparse
import json
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import soxr
from calibration import scale

from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.media.child import Direct
from mm_fairseq.media.faces import single_threaded
from mm_fairseq.preprocessing import job
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.items import SAMPLE_RATE, Settings
from mm_fairseq.targets import Target, write_targets
from mm_fairseq.toy import acted
from mm_fairseq.toy.clips import write_clip
from mm_fairseq.toy.cues import Cue

LIMIT = 1.2
LEAST = 1.7
BOUNDED = 1.1
COPIES = 5
SOUNDS = 2000
RATE = 48_000  # Hz


def write_corpus(folder: Path, clips: int, size: tuple[int, int], fps: int) -> list[Path]:
    """Clips and the prepared folder of them, in `folder`; returns the clips."""
    raw, prepared = folder / "raw", folder / "prepared"
    raw.mkdir()
    prepared.mkdir()
    paths = []
    for number in range(clips):
        path = raw / f"{number:04}.mp4"
        if number % COPIES:
            os.link(paths[-1], path)
        else:
            rng = np.random.default_rng(number)
            who, seconds = acted.actor("MF"[number // COPIES % 2], rng), rng.uniform(2.7, 3.7)
            sound, frames = acted.perform(who, Cue(1, -1), Cue(-1, 1), seconds, fps, size, rng)
            write_clip(path, frames, acted.at_rate(sound, RATE), fps, RATE)
        paths.append(path)
    write_prepared(prepared, raw, [Utterance(path.stem, "train", video=path.name) for path in paths])
    return paths


def write_prepared(prepared: Path, raw: Path, rows: list[Utterance]) -> None:
    """What `prepare` would write of these rows."""
    Manifest(raw, ["emotion"], rows).write(prepared / "manifest.tsv")
    write_targets(prepared / "targets.json", [Target("emotion", "single", ("happy", "sad"))])


def write_sounds(folder: Path, count: int) -> None:
    """Noise of 3 s in WAV files, each of them ten times, and the prepared folder of them, `prepared-sounds`."""
    raw, prepared = folder / "sounds", folder / "prepared-sounds"
    raw.mkdir()
    prepared.mkdir()
    rng, rows = np.random.default_rng(0), []
    for number in range(count):
        path = raw / f"{number:05}.wav"
        if number % 10:
            os.link(raw / f"{number - number % 10:05}.wav", path)
        else:
            soundfile.write(path, rng.integers(-9000, 9000, 3 * SAMPLE_RATE).astype(np.int16), SAMPLE_RATE)
        rows.append(Utterance(path.stem, "train", audio=path.name))
    write_prepared(prepared, raw, rows)


def unbounded(prepared: Path, out: Path) -> None:
    """Binarize in one process, which decodes too."""
    reader = job.reader
    job.reader = lambda functions, *_, **__: Direct(functions)
    try:
        binarize(prepared, out, workers=1, overwrite=True)
    finally:
        job.reader = reader


def read(paths: Sequence[Path], colours: bool = True, threads: int = 0) -> None:
    """Every picture and every sample of every clip.

    Args:
        paths: the clips.
        colours: pictures to RGB too.
        threads: of that step; 0 are as many as FFmpeg likes.
    """
    for path in paths:
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for picture in container.decode(video=0):
                if colours:
                    picture.to_ndarray(format="rgb24", threads=threads)
        with av.open(str(path)) as container:
            track = container.streams.audio[0]
            track.codec_context.thread_count = 1
            blocks = [block.to_ndarray().mean(0) for block in container.decode(track)]
            soxr.resample(np.concatenate(blocks), track.rate, SAMPLE_RATE)


def seconds(step: Callable[[], Any]) -> tuple[float, float]:
    """Of CPU, children included, and on the clock."""

    def used() -> float:
        return sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )

    begun, clock = used(), time.perf_counter()
    step()
    return used() - begun, time.perf_counter() - clock


def measure(folder: Path, paths: Sequence[Path], steps: int) -> dict[str, Any]:
    """Medians of CPU-seconds a clip, and the least times on the clock, of `steps` runs of each, in turns."""
    runs: dict[str, Callable[[], Any]] = {
        "one": lambda: binarize(folder / "prepared", folder / "one", workers=1, overwrite=True),
        "two": lambda: binarize(folder / "prepared", folder / "two", workers=2, overwrite=True),
        "reference": lambda: read(paths),
        "one_thread": lambda: read(paths, threads=1),
        "decoded": lambda: read(paths, colours=False),
        "unbounded": lambda: unbounded(folder / "prepared", folder / "one"),
        "sounds": lambda: binarize(folder / "prepared-sounds", folder / "sound", workers=1, overwrite=True),
        "unbounded_sounds": lambda: unbounded(folder / "prepared-sounds", folder / "sound"),
    }
    runs["one"]()
    runs["sounds"]()
    read(paths[:COPIES])
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(steps):
        for name, step in runs.items():
            found[name].append(seconds(step))
    cpu = {name: statistics.median(each[0] for each in times) / len(paths) for name, times in found.items()}
    wall = {name: min(each[1] for each in times) for name, times in found.items()}
    best = min(found["two"], key=lambda each: each[1])
    return {
        "value": cpu["one"],
        "reference": cpu["reference"],
        "ratio": cpu["one"] / cpu["reference"],
        "limit": LIMIT,
        "one_thread": cpu["one_thread"],
        "decoded": cpu["decoded"],
        "ratio_one_thread": cpu["one"] / cpu["one_thread"],
        "ratio_decoded": cpu["one"] / cpu["decoded"],
        "throughput": {
            "one": len(paths) / wall["one"],
            "two": len(paths) / wall["two"],
            "unit": "clips/s",
            "ratio": wall["one"] / wall["two"],
            "least": LEAST,
            "cpu_ratio": cpu["two"] / cpu["one"],
            "busy": max(0.0, 1 - best[0] / (2 * best[1])),
        },
        "bounded": {
            "ratio": cpu["one"] / cpu["unbounded"],
            "clock": wall["one"] / wall["unbounded"],
            "sounds": {
                "ratio": cpu["sounds"] / cpu["unbounded_sounds"],
                "clock": wall["sounds"] / wall["unbounded_sounds"],
            },
            "limit": BOUNDED,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--size", default="720x480", metavar="WxH", help="of a picture (default: %(default)s)")
    parser.add_argument("--fps", type=int, default=25, help="pictures a second (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="runs measured (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="48 clips, one run")
    args = parser.parse_args()
    clips, steps = (min(args.clips, 48), 1) if args.quick else (args.clips, args.steps)
    width, height = map(int, args.size.split("x"))
    logging.disable(logging.WARNING)
    single_threaded()
    with tempfile.TemporaryDirectory() as name:
        paths = write_corpus(Path(name), clips, (width, height), args.fps)
        write_sounds(Path(name), SOUNDS)
        figures = {
            "name": "binarize",
            "unit": "CPU-seconds/clip",
            **measure(Path(name), paths, steps),
            "scale": scale(3),
            "clips": clips,
            "size": args.size,
            "fps": [args.fps, Settings().fps],
            "steps": steps,
            "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
