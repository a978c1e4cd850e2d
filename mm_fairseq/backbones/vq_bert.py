"""BERT over the codes of vq-wav2vec (Baevski et al. 2020, arXiv 1910.05453, section 5), from the public files.

These are `vq-wav2vec_kmeans.pt` and the folder `bert_kmeans` with a model file and dict.txt, whose words are pairs of
codes such as "12-305". The codes never learn; the BERT does where it is asked to (Siriwardhana et al. 2020, arXiv
2008.06682).
"""

import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor, nn

from ..errors import MMFairseqError
from .base import BACKBONES, Backbone, FeatureSeq
from .roberta import Roberta
from .vq_wav2vec import VqWav2Vec

MODELS = ("bert_kmeans.pt", "model.pt")
BOS, PAD, EOS, UNK = 0, 1, 2, 3
ENDS = 2  # tokens that are no codes: <s> in front, </s> behind


@BACKBONES.register("vq_bert")
class VqBert(Backbone):
    """Hidden states of the BERT over vq-wav2vec's k-means codes, one each 10 ms, with <s> in front and </s> behind.

    Args:
        bert: arguments of `Roberta`.
        vq: arguments of `VqWav2Vec`.
        layer: of the BERT, see `chosen_states`.
    """

    modality = "audio"
    summarises = True
    file_options = ("vq",)

    def __init__(self, bert: Mapping[str, Any], vq: Mapping[str, Any], layer: int | str = "last") -> None:
        super().__init__()
        self.bert = Roberta(**{**bert, "layer": layer})
        self.vq = VqWav2Vec(**vq).requires_grad_(False).eval()
        if self.vq.groups != 2:
            raise ValueError(f"vq has {self.vq.groups} groups of codes; the words of dict.txt are made of 2")
        codes = self.vq.codes_per_group
        # The word of each pair of codes; in the weights, because it comes out of dict.txt
        self.register_buffer("words", torch.full((codes, codes), UNK))
        self.dim, self.states = self.bert.dim, self.bert.states
        self.receptive_field, self.stride = self.vq.receptive_field, self.vq.stride
        self.most = (self.bert.max_input or 0) - ENDS  # codes
        self.max_input = self.vq.longest_input(self.most)

    def longest_input(self, frames: int) -> int:
        if frames <= ENDS:
            raise MMFairseqError(
                f"vq_bert gives {ENDS + 1} frames or more, <s> and </s> among them; the limit is {frames}"
            )
        return min(self.vq.longest_input(frames - ENDS), self.max_input)

    def spans(self, frames: int, length: int) -> list[tuple[int, int] | None]:
        return [None, *super().spans(max(0, frames - ENDS), length), None][:frames]

    def layers(self) -> list[nn.Module]:
        return self.bert.layers()

    def train(self, mode: bool = True) -> "VqBert":
        super().train(mode)
        self.vq.eval()
        return self

    @classmethod
    def front(cls, entry: dict[str, Any]) -> dict[str, Any] | None:
        if "vq" not in entry["sha256"]:
            return None
        return {
            "name": "vq_wav2vec",
            "args": entry["args"]["vq"],
            "frozen": True,
            "sha256": {"file": entry["sha256"]["vq"]},
        }

    @classmethod
    def parts(cls, path: Path) -> list[Path]:
        if not path.is_dir():  # the file of codes
            return [path]
        return [_model_file(path), path / "dict.txt"]

    @classmethod
    def read(cls, path: Path, vq: Path | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
        if vq is None:
            raise MMFairseqError(f"vq_bert:{path} needs the file of codes too: vq_bert:{path},vq=vq-wav2vec_kmeans.pt")
        if not path.is_dir():
            raise MMFairseqError(f"{path}: not a folder; expected one with {' or '.join(MODELS)} and dict.txt")
        bert, bert_weights = Roberta.read(_model_file(path))
        codes, vq_weights = VqWav2Vec.read(vq)
        words = _words(path / "dict.txt", bert["vocabulary"], codes["vq_vars"])
        weights = {"words": words}
        weights |= {f"bert.{key}": value for key, value in bert_weights.items()}
        return {"bert": bert, "vq": codes}, weights | {f"vq.{key}": value for key, value in vq_weights.items()}

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """Encode samples (B, T), or codes (B, T, 2) that were cached."""
        if x.dim() == 2:
            with torch.no_grad():
                x, padding_mask = self.vq.codes(x, padding_mask)
        x, padding_mask = x[:, : self.most], padding_mask[:, : self.most]
        lengths = (~padding_mask).sum(1)
        ids = torch.full((x.size(0), x.size(1) + ENDS), PAD, device=x.device)
        ids[:, 0] = BOS
        ids[:, 1:-1] = self.words[x[..., 0], x[..., 1]]
        ids.scatter_(1, lengths[:, None] + 1, EOS)
        mask = torch.arange(ids.size(1), device=x.device) >= lengths[:, None] + ENDS
        features, _ = self.bert(ids, mask)
        mask = mask | (lengths == 0)[:, None]  # too short for a code
        return FeatureSeq(features.masked_fill(mask[..., None], 0.0), mask)


def _model_file(folder: Path) -> Path:
    there = [folder / name for name in MODELS if (folder / name).is_file()]
    if not there:
        raise MMFairseqError(f"{folder}: neither {' nor '.join(MODELS)} in the folder")
    return there[0]


def _words(path: Path, vocabulary: int, codes: int) -> Tensor:
    """The token id of each pair of codes, (codes, codes); that of <unk> where the dictionary lacks it.

    Raises:
        MMFairseqError: no such dictionary, of another size than the model's, or its words are no pairs of codes.
    """
    if not path.is_file():
        raise MMFairseqError(f"{path}: no such file; it names the pairs of codes that the model knows")
    dictionary = Dictionary()
    try:
        dictionary.add_from_file(StringIO(path.read_text(encoding="utf-8")))
    except (ValueError, RuntimeError) as error:
        raise MMFairseqError(f"{path}: not a dictionary of fairseq: {error}") from error
    symbols = dictionary.symbols
    if not 0 <= vocabulary - len(symbols) <= 1:  # <mask> stands behind the dictionary
        raise MMFairseqError(f"{path}: {len(symbols)} symbols, the model beside it knows {vocabulary}")
    words = torch.full((codes, codes), UNK)
    for number, symbol in enumerate(symbols):
        pair = re.fullmatch(r"(\d{1,5})-(\d{1,5})", symbol)
        if pair and max(int(code) for code in pair.groups()) < codes:
            words[int(pair[1]), int(pair[2])] = number
        elif pair:
            raise MMFairseqError(f"{path}: word {symbol!r}, but vq-wav2vec has codes 0 to {codes - 1}")
    if (words == UNK).all():
        raise MMFairseqError(f"{path}: no word of two codes such as '12-305' in it")
    return words
