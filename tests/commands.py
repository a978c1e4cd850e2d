"""Run the real fairseq commands in processes of their own, as users do."""

import json
import os
import re
import socket
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tensorboardX.proto import event_pb2

import mm_fairseq

EXAMPLES = Path(__file__).parents[1] / "examples"
USER_DIR = str(Path(mm_fairseq.__file__).parent)
TASK = ["--task", "emotion_prediction", "--user-dir", USER_DIR]
TRAIN = [*TASK, "--criterion", "emotion_prediction_cri", "--optimizer", "adam", "--lr", "0.001", "--log-format", "json"]


def start(command, *args, processes=1):
    """Start a command beside this Python; returns a function that waits for it and gives its output.

    With several processes it is started by torchrun. A GPU stays hidden, so that results can be compared.
    """
    script = [str(Path(sys.executable).parent / command)]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        torchrun = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={port}"]
        script = [sys.executable, *torchrun, *script]
    process = subprocess.Popen(
        [*script, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )

    def finish(fails=False):
        output = process.communicate(timeout=1000)[0]
        assert (process.returncode != 0) == fails, output[-4000:]
        return output

    return finish


def run(command, *args, processes=1, fails=False):
    """As `start`, and wait."""
    return start(command, *args, processes=processes)(fails)


def recipe(name, *args, timeout=1000):
    """Run a recipe of examples/; returns its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", EXAMPLES / name / "run.sh", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def together(*jobs):
    """Call functions side by side; returns their results in order."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def metrics(output, tag):
    """The last JSON line of a log with the tag "train", "valid" or a subset's name: `{metric: number}`."""
    lines = re.findall(rf"\| {tag} \| (\{{.*\}})$", output, re.MULTILINE)
    assert lines, output[-4000:]
    out = {}
    for key, value in json.loads(lines[-1]).items():
        try:
            out[key.removeprefix(f"{tag}_")] = float(value)
        except (TypeError, ValueError):
            continue
    return out


def predictions(folder):
    """Rows of a `predictions.jsonl`."""
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def results(folder):
    """What `results.json` says."""
    return json.loads((folder / "results.json").read_text())


def scalars(logdir):
    """Every scalar below a TensorBoard folder: `{(folder, tag): {step: value}}`."""
    out = {}
    for file in Path(logdir).rglob("events.out.tfevents.*"):
        data, place = file.read_bytes(), 0
        while place < len(data):  # TFRecord: length (8 bytes), its checksum (4), an event, its checksum (4)
            size = struct.unpack_from("<Q", data, place)[0]
            event = event_pb2.Event.FromString(data[place + 12 : place + 12 + size])
            place += 16 + size
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    out.setdefault((file.parent.name, value.tag), {})[event.step] = value.simple_value
    return out
