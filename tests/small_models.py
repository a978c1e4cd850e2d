"""One tiny trained model of each architecture, on recordings with pictures, sound and words, by the real commands.

Made in this process, and only what a test asks for: seconds each.
"""

from functools import cached_property
from pathlib import Path

import fairseq_cli.train
import torch
from commands import TRAIN
from trainings import CPU, call

from mm_fairseq.cli import main
from mm_fairseq.inference import Clip, EmotionModel
from mm_fairseq.manifest import Manifest
from mm_fairseq.toy import checkpoints, fabnet, meld

UTTERANCES = 52
SIDE = 32  # of the pixels of perceiver_emo
MODALITIES = {
    "ssl_fusion": ("audio", "text", "video"),
    "crossmodal_mult": ("audio", "text", "video"),
    "wave_text": ("audio", "text"),
    "av_graph": ("audio", "video"),
    "perceiver_emo": ("audio", "video"),
}
_AUDIO, _TEXT, _VIDEO = "wav2vec/wav2vec_args.pt", "roberta", "fabnet/fabnet.pt"
_OPTIONS = {
    "ssl_fusion": "--encoder-layers 1 --encoder-layers-cross 1 --encoder-ffn-embed-dim 32",
    "crossmodal_mult": "--audio-backbone mfcc --merge-how average --d-model 32 --num-heads 4 --layers 1",
    "wave_text": "--d-model 32 --num-heads 4 --ffn-dim 64",
    "av_graph": "--hidden-channels 32 --num-layers 2 --max-audio-nodes 400 --max-video-nodes 100",
    "perceiver_emo": f"--audio-backbone waveform:gain=8 --image-size {SIDE} --num-frames 2 --d-model 432 "
    "--audio-samples-per-frame 1600 --samples-per-patch 40 --num-latents 6 --d-latents 16 "
    "--num-self-attends-per-block 1 --num-self-attention-heads 2 --output-num-channels 16 "
    "--label-query-channels 16 --head-dim 8 --initializer-range 0.12",
}
_BACKBONES = {
    "ssl_fusion": ("audio", "text", "video"),
    "crossmodal_mult": ("text", "video"),
    "wave_text": (),
    "av_graph": ("audio", "video"),
    "perceiver_emo": (),
}


class SmallModels:
    """A toy corpus of `UTTERANCES` clips, its data-bins, and a model of each architecture.

    Args:
        folder: an empty one; nothing in it is to be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loaded: dict[str, EmotionModel] = {}

    @cached_property
    def raw(self) -> Path:
        """In the form of MELD: mp4 of a person who speaks."""
        meld.write(self.folder / "raw", UTTERANCES, seed=1)
        return self.folder / "raw"

    @cached_property
    def pretrained(self) -> Path:
        folder = self.folder / "pretrained"
        makers = {"wav2vec": checkpoints.write_wav2vec, "roberta": checkpoints.write_roberta, "fabnet": fabnet.write}
        with torch.random.fork_rng(devices=[]):
            for name, make in makers.items():
                (folder / name).mkdir(parents=True)
                make(folder / name, seed=1)
        return folder

    @cached_property
    def prepared(self) -> Path:
        assert main(["prepare", "meld", str(self.raw), str(self.folder / "prepared"), "--accept-counts"]) == 0
        return self.folder / "prepared"

    @cached_property
    def data_bin(self) -> Path:
        """All modalities, with the words in the numbers of the toy RoBERTa, and pictures as FAb-Net takes them."""
        return self._binarize("data-bin", "--tokenizer", f"gpt2:{self.pretrained / 'roberta'}", "--fps", 1)

    @cached_property
    def pixels(self) -> Path:
        """Sound, and pictures of another size, for perceiver_emo."""
        options = ["--modalities", "audio,video", "--fps", 2.5, "--frame-size", SIDE]
        return self._binarize("data-bin-pixels", *options)

    def _binarize(self, name: str, *options: object) -> Path:
        given = [self.prepared, self.folder / name, "--workers", 1, *options]
        assert main(["binarize", *map(str, given)]) == 0
        return self.folder / name

    def data_of(self, architecture: str) -> Path:
        """The data-bin that an architecture was trained on."""
        return self.pixels if architecture == "perceiver_emo" else self.data_bin

    def checkpoint(self, architecture: str) -> Path:
        """The checkpoint_best.pt of a training of two updates."""
        folder = self.folder / architecture
        if not folder.exists():
            self.train(folder, architecture)
        return folder / "checkpoint_best.pt"

    def train(self, folder: Path, architecture: str, *options: object) -> Path:
        """Train once more, with further options, into a folder; returns it."""
        files = {"audio": f"wav2vec:{self.pretrained / _AUDIO}", "text": f"roberta:{self.pretrained / _TEXT}"}
        files["video"] = f"fabnet:{self.pretrained / _VIDEO}"
        given = ["--arch", architecture, "--modalities", ",".join(MODALITIES[architecture])]
        for name in _BACKBONES[architecture]:
            given += [f"--{name}-backbone", files[name]]
        given += [*_OPTIONS[architecture].split(), "--no-epoch-checkpoints", "--no-last-checkpoints"]
        given += ["--batch-size", 8, "--max-update", 2, "--save-dir", folder]
        call(fairseq_cli.train.cli_main, [self.data_of(architecture), *TRAIN, *CPU, *given, *options])
        return folder

    def model(self, architecture: str) -> EmotionModel:
        """The model of that checkpoint, shared by all tests."""
        if architecture not in self._loaded:
            self._loaded[architecture] = EmotionModel.from_pretrained(self.checkpoint(architecture))
        return self._loaded[architecture]

    def clips(self, *splits: str) -> list[Clip]:
        """Utterances of some splits, or all, by their files, in the order of the manifest."""
        rows = Manifest.read(self.prepared / "manifest.tsv").utterances
        rows = [row for row in rows if not splits or row.split in splits]
        return [Clip(row.id, video=self.raw / row.medium("video").path, text=row.text) for row in rows]

    def close(self) -> None:
        """End the processes that decode."""
        for model in self._loaded.values():
            model.close()
