"""A trained checkpoint that answers for clips: from files, arrays or bytes to labels and scores."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backbones.backbone_set import Omitted
from ..datasets import Limits, limits_of
from ..errors import MMFairseqError
from ..manifest import MODALITIES
from ..targets import Kind, Target
from . import loading
from .checks import MOST_SECONDS, check_number
from .clips import Clip, Inputs, Source
from .reading import ClipReader

BATCH = 8
_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?")
_BOS, _PAD, _EOS = 0, 1, 2  # of fairseq's dictionaries


class Answer(list[dict[str, Any]]):
    """`[{"label", "score"}, ...]` of the first target, best first, as pipelines of Hugging Face give it.

    Attributes:
        id: of the clip.
        targets: the same for every target, by its name; a number is its one score, under the target's own name.
        predictions: target to label, list of labels or number, as in predictions.jsonl.
        modalities: what the model got of the clip.
        notes: fallbacks.
        seconds: length of the clip; None where it has neither sound nor pictures.
    """

    def __init__(self, inputs: Inputs, kinds: Mapping[str, Kind], scores: Mapping[str, np.ndarray], top_k: int | None):
        decoded = {name: kind.decode(scores[name]) for name, kind in kinds.items()}
        self.id, self.notes, self.seconds = inputs.id, inputs.notes, inputs.seconds
        self.modalities = [name for name in MODALITIES if name in inputs.items]
        self.predictions = {name: found["prediction"] for name, found in decoded.items()}
        self.targets = {name: _ranked(name, found)[:top_k] for name, found in decoded.items()}
        super().__init__(next(iter(self.targets.values())))

    def __repr__(self) -> str:
        """All that it says, not only the first target."""
        return f"Answer(targets={self.targets}, modalities={self.modalities}, notes={[*self.notes]})"

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "id": self.id,
            "modalities": self.modalities,
            "seconds": self.seconds,
            "predictions": self.predictions,
            "targets": self.targets,
            "notes": [note._asdict() for note in self.notes],
        }


def _ranked(name: str, decoded: Mapping[str, Any]) -> list[dict[str, Any]]:
    scores = decoded.get("scores") or {name: decoded["prediction"]}
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    return [{"label": label, "score": score} for label, score in ordered]


def device_of(name: str) -> torch.device:
    """The device of torch that is called so, "cpu" or "cuda:0".

    Raises:
        MMFairseqError: there is none, or it is of another kind.
    """
    if not _DEVICE.fullmatch(str(name)):
        raise MMFairseqError(f"device {str(name)!r}: expected cpu, or cuda or cuda:NUMBER")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MMFairseqError(f"device {str(name)!r}: {str(error).splitlines()[0]}") from error
    return device


class EmotionModel:
    """A trained model with the preprocessing that it was trained on; both come from one file or folder.

    Attributes:
        architecture: its registered name.
        modalities: what it reads.
        kinds: target name to kind.
        targets: what it predicts.
        model: the network.
        state: of the task that trained it.
        limits: shortest and longest input of each modality.
        device: where it computes.
        source: the checkpoint, or the folder of `save_pretrained`.
    """

    def __init__(self, loaded: loading.Loaded, device: str = "cpu", max_seconds: float | None = None) -> None:
        self.device = device_of(device)
        if max_seconds is not None:
            check_number("max_seconds", max_seconds, MOST_SECONDS)
        self.source = loaded.source
        self.architecture: str = loaded.options["_name"]
        self.state, self.kinds = loaded.state, loaded.kinds()
        self.targets: tuple[Target, ...] = tuple(kind.target for kind in self.kinds.values())
        self.model = loaded.model().to(self.device)
        self._loaded = replace(loaded, weights=self.model.state_dict())  # one copy of them, the model's own
        self.limits: dict[str, Limits] = limits_of(self.model.input_limits(), loaded.task["max_sample_size"])
        self._max_seconds = max_seconds
        self.reader = self.new_reader()
        self.modalities = tuple(self.reader.modalities)

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike,
        checkpoint_file: str = "checkpoint_best.pt",
        device: str = "cpu",
        max_seconds: float | None = None,
    ) -> "EmotionModel":
        """Load a model.

        Args:
            path: a checkpoint of fairseq-train, the folder of a training, or a folder of `save_pretrained`.
            checkpoint_file: which one of a training's folder.
            device: of torch, "cpu" or "cuda:0".
            max_seconds: the longest clip, at most 1,000,000; as in the training where None.

        Raises:
            MMFairseqError: nothing of that is there, it is damaged, another package's, or not safe to load; or there is
                no such device.
        """
        return cls(loading.load(path, checkpoint_file), device, max_seconds)

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write `model.safetensors`, `config.json` and the tokeniser's files, all that `from_pretrained` needs."""
        self._loaded.save(Path(folder))

    def new_reader(self) -> ClipReader:
        """A further reader of clips, with a process of its own that decodes.

        Raises:
            MMFairseqError: the state, or its tokeniser, is damaged.
        """
        task = self._loaded.task
        try:
            bos, eos = (
                default if task[name] < 0 else task[name]
                for name, default in (("init_token", _BOS), ("separator_token", _EOS))
            )
            return ClipReader(self.state, self.limits, (bos, eos), _PAD, self._max_seconds)
        except (KeyError, TypeError, AttributeError) as error:
            raise MMFairseqError(f"{self.source}: how its data-bin was made is not told ({error!r})") from error
        except MMFairseqError as error:
            raise MMFairseqError(f"{self.source}: {error}") from error

    def __enter__(self) -> "EmotionModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process that decodes; a later clip starts another."""
        self.reader.close()

    def predict(
        self,
        video: Source | None = None,
        audio: Source | None = None,
        text: str | None = None,
        *,
        start: float | None = None,
        end: float | None = None,
        fps: float | None = None,
        sampling_rate: int | None = None,
        features: Mapping[str, np.ndarray] | str | os.PathLike | None = None,
        without: Collection[str] = (),
        top_k: int | None = None,
    ) -> Answer:
        """Answer for one clip.

        Args:
            video: see `Clip`, as `audio`, `text`, `start`, `end`, `fps`, `sampling_rate` and `features`.
            audio: where None, the sound of `video` is heard.
            text: what is said.
            start: beginning of the span in seconds.
            end: end of the span in seconds.
            fps: of pictures in an array, which need it.
            sampling_rate: of samples in an array, which need it.
            features: of models of features.
            without: modalities that the model does not get.
            top_k: so many labels of each target; all where None.

        Raises:
            NoModalityError: nothing of the clip is left that the model reads, or nothing of `video`, `audio` or
                `features` is of use to it, also where it could answer from the others.
            MMFairseqError: a file is not there, or what is given is no clip.
        """
        clip = Clip("", video, audio, text, start, end, fps, sampling_rate, features)
        return self.answer([self.read(clip, without, strict=True)], top_k)[0]

    def read(self, clip: Clip, without: Collection[str] = (), *, strict: bool = False) -> Inputs:
        """Decode and preprocess one clip, see `ClipReader.read`."""
        return self.reader.read(clip, without, strict=strict)

    def batch(self, inputs: Sequence[Inputs]) -> dict[str, dict[str, Tensor]]:
        """A padded batch as the model takes it, on its device."""
        found = self.reader.collate(inputs)
        return {key: {name: x.to(self.device) for name, x in part.items()} for key, part in found.items()}

    @torch.inference_mode()
    def scores(self, inputs: Sequence[Inputs]) -> dict[str, np.ndarray]:
        """Target to what `Kind.probabilities` gives for a batch: (B, K), or (B,) for a number.

        Raises:
            MMFairseqError: the checkpoint lacks a backbone, or symbols that its tokeniser gives, or a score is not a
                finite number.
        """
        self._check_whole(inputs)
        try:
            logits = self.model(**self.batch(inputs))["logits"]
        except IndexError as error:
            told = "its weights lack symbols that its own tokeniser and options give: it was changed, or is damaged"
            raise MMFairseqError(f"{self.source}: {told}") from error
        scores = {name: kind.probabilities(logits[name].float()).cpu().numpy() for name, kind in self.kinds.items()}
        for name, found in scores.items():
            finite = np.isfinite(found).reshape(len(inputs), -1).all(1)
            if not finite.all():
                ids = ", ".join(each.id or "the clip" for each, fine in zip(inputs, finite, strict=True) if not fine)
                raise MMFairseqError(f"the model's prediction of {name!r} is not a finite number for {ids}")
        return scores

    def answer(self, inputs: Sequence[Inputs], top_k: int | None = None) -> list[Answer]:
        """Answer for a batch, in one pass of the model."""
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise MMFairseqError(f"top_k {top_k!r}: a whole number from 1 on is needed")
        if not inputs:
            return []
        scores = self.scores(inputs)
        return [
            Answer(each, self.kinds, {name: found[row] for name, found in scores.items()}, top_k)
            for row, each in enumerate(inputs)
        ]

    def answers(
        self,
        clips: Iterable[Clip],
        batch_size: int = BATCH,
        without: Collection[str] = (),
        top_k: int | None = None,
        failed: Callable[[Clip, MMFairseqError], object] | None = None,
    ) -> Iterator[Answer]:
        """Answer for many clips in their order; recordings are decoded while the model is at earlier ones.

        Args:
            clips: what there is.
            batch_size: clips in one pass of the model.
            without: see `predict`, as `top_k`.
            top_k: labels.
            failed: is told of a clip of which nothing can be read, which is left out; None raises the error.

        Raises:
            MMFairseqError: as `predict`, at the first clip that cannot be answered.
        """
        if batch_size < 1:
            raise MMFairseqError(f"batch_size {batch_size}: at least 1")
        found = self.reader.read_all(clips, without, failed)
        while batch := list(islice(found, batch_size)):
            yield from self.answer(batch, top_k)

    def _check_whole(self, inputs: Sequence[Inputs]) -> None:
        for name, encoder in self.model.backbones.encoders.items():
            if isinstance(encoder, Omitted) and any(name in each.items for each in inputs):
                raise MMFairseqError(
                    f"{self._loaded.source}: trained with --omit-frozen-backbones, it lacks the {name} backbone "
                    f"{encoder.name!r}: answer without {name}, or train once more without that option"
                )
