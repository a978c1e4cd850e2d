"""Small real trials of what the package needs: each returns a few words on what was seen, or raises."""

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np

from .. import versions

RATE = 16000


class Broken(Exception):
    """A trial ran and gave a wrong result."""


def torch_computes() -> str:
    import torch

    if torch.ones(2, 3).matmul(torch.ones(3, 2)).sum().item() != 12:
        raise Broken("a product of matrices is wrong")
    return f"{torch.get_num_threads()} threads"


def plugin_registers() -> str:
    import fairseq
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.models import ARCH_MODEL_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    import_plugin()
    wanted = {
        "emotion_prediction": TASK_REGISTRY,
        "emotion_prediction_cri": CRITERION_REGISTRY,
        "ssl_fusion": ARCH_MODEL_REGISTRY,
    }
    missing = [name for name, registry in wanted.items() if name not in registry]
    if missing:
        raise Broken(f"not registered: {', '.join(missing)}")
    return f"fairseq {fairseq.__version__}, task, criterion and architectures registered"


def import_plugin() -> None:
    """Import the parts that register something, so that what is wrong with one of them is raised here."""
    from importlib import import_module

    for part in ("criterions", "tasks", "models"):
        import_module(f"mm_fairseq.{part}")


def torchaudio_computes() -> str:
    import torch
    import torchaudio

    mfcc = torchaudio.transforms.MFCC(RATE, n_mfcc=13, melkwargs={"n_mels": 23})(torch.from_numpy(tone()))
    if not torch.isfinite(mfcc).all():
        raise Broken("MFCC are not finite")
    return f"MFCC {tuple(mfcc.shape)}"


def torchvision_computes() -> str:
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    if kept.tolist() != [0, 2]:
        raise Broken(f"nms keeps {kept.tolist()}, expected [0, 2]")
    return "compiled operators"


def audio_round_trip() -> str:
    import soundfile

    samples, file = (tone() * 32767).astype(np.int16), io.BytesIO()
    soundfile.write(file, samples, RATE, format="FLAC")
    file.seek(0)
    read, rate = soundfile.read(file, dtype="int16")
    if rate != RATE or not np.array_equal(read, samples):
        raise Broken("FLAC does not come back as it was written")
    return "FLAC written and read"


def audio_resamples() -> str:
    import soxr

    resampled = soxr.resample(tone(), 44100, RATE)
    if abs(len(resampled) - len(tone()) * RATE / 44100) > 2:
        raise Broken(f"44.1 kHz to 16 kHz gives {len(resampled)} samples")
    return "44.1 kHz to 16 kHz"


def video_round_trip() -> str:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(0, 250, 50):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as container:
        levels = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    if len(levels) != 5 or any(abs(seen - wanted) > 12 for seen, wanted in zip(levels, range(0, 250, 50), strict=True)):
        raise Broken(f"five frames come back as {[round(level) for level in levels]}")
    return "MPEG-4 encoded and decoded"


def faces_load() -> str:
    import cv2
    from cv2 import data

    cascade = cv2.CascadeClassifier(str(Path(data.haarcascades) / "haarcascade_frontalface_default.xml"))
    if cascade.empty():
        raise Broken("the Haar cascade does not load")
    cascade.detectMultiScale(np.zeros((96, 96), np.uint8))
    return "Haar cascade"


def sentencepiece_trains() -> str:
    import sentencepiece

    model, lines = io.BytesIO(), ["a small trial of the pieces", "the pieces of a trial"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=30, hard_vocab_limit=False, minloglevel=2
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    if processor.decode(processor.encode(lines[0])) != lines[0]:
        raise Broken("text does not come back as it was encoded")
    return "text encoded and decoded"


def fastbpe_applies() -> str:
    import fastBPE

    with tempfile.TemporaryDirectory() as folder:
        codes = Path(folder, "codes")
        codes.write_text("l o 2\nlo w</w> 1\n", encoding="utf-8")
        pieces = fastBPE.fastBPE(str(codes)).apply(["low slow"])
    if pieces != ["low s@@ low"]:
        raise Broken(f"'low slow' becomes {pieces}")
    return "codes applied"


def pictures_draw() -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    file = io.BytesIO()
    FigureCanvasAgg(Figure(figsize=(1, 1))).print_png(file)
    if not file.getvalue().startswith(b"\x89PNG"):
        raise Broken("the picture is no PNG")
    return "PNG drawn"


def cuda_computes() -> str:
    import torch

    if not torch.cuda.is_available():
        raise Broken("no device; training runs on the CPU")
    torch.ones(2, device="cuda").sum().item()
    return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, bf16 {torch.cuda.is_bf16_supported()}"


def tensorboard_logs() -> str:
    import tensorboardX

    return f"tensorboardX {tensorboardX.__version__} for --tensorboard-logdir"


def wandb_logs() -> str:
    import wandb

    return f"wandb {wandb.__version__} for --wandb-project"


def hugging_face_encodes() -> str:
    import tokenizers
    import torch
    import transformers

    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.BertModel(config)
    if model(torch.tensor([[1, 2, 3]])).last_hidden_state.shape != (1, 3, 8):
        raise Broken("three tokens do not give three vectors")
    return f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"


def opensmile_analyses() -> str:
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    found = smile.process_signal(tone(), RATE).to_numpy()
    if found.shape != (1, 88) or not np.isfinite(found).all():
        raise Broken(f"functionals of shape {found.shape}, or not finite")
    return f"opensmile {versions.installed(['opensmile'])['opensmile']}, eGeMAPS"


def frames_round_trip() -> str:
    import pandas
    import pyarrow

    content = io.BytesIO()
    pandas.DataFrame({"audio": [[1, 2], [3]]}).to_parquet(content)
    if [list(row) for row in pandas.read_parquet(content)["audio"]] != [[1, 2], [3]]:
        raise Broken("a frame of lists does not come back from Parquet")
    return f"pandas {pandas.__version__}, pyarrow {pyarrow.__version__}"


def hdf5_round_trip() -> str:
    import h5py

    with h5py.File(io.BytesIO(), "w") as content:
        content["labels"] = [1.5, -3.0]
        if content["labels"][()].tolist() != [1.5, -3.0]:
            raise Broken("two numbers do not come back from HDF5")
    return f"h5py {h5py.__version__}, for labels of CMU-MOSI and CMU-MOSEI"


def graphs_convolve() -> str:
    import torch
    import torch_geometric
    from torch_geometric.nn import SAGEConv

    edges = torch.tensor([[0, 1], [2, 2]])
    if SAGEConv(4, 4)(torch.ones(3, 4), edges).shape != (3, 4):
        raise Broken("three nodes do not give three vectors")
    return f"torch_geometric {torch_geometric.__version__}, for av_graph"


def jobs_run() -> str:
    import submitit

    with tempfile.TemporaryDirectory() as folder:
        executor = submitit.AutoExecutor(folder=folder, cluster="debug")
        if executor.submit(sum, [1, 2]).result() != 3:
            raise Broken("a job gives another result")
    return f"submitit {submitit.__version__}" + ("" if shutil.which("sbatch") else "; no sbatch on this machine")


def ray_starts() -> str:
    import ray

    from ..preprocessing.on_ray import LOCAL, Ray

    engine, task = Ray(LOCAL, 1), cast(Any, ray.remote(versions.installed))
    try:
        if ray.get(task.remote(["ray"])) != versions.installed(["ray"]):
            raise Broken("a task gives another result")
    finally:
        engine.close()
    return f"Ray {ray.__version__}"


def tone() -> np.ndarray:
    """Half a second of 220 Hz, float32, shape (8000,)."""
    return (0.5 * np.sin(2 * np.pi * 220 * np.arange(RATE // 2) / RATE)).astype(np.float32)
