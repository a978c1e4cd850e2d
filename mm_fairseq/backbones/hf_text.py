"""Text encoders of the BERT family (Devlin et al. 2019, arXiv 1810.04805), from a folder of Hugging Face.

The data-bin has to be binarized with `--tokenizer hf:FOLDER` of the same folder: the number of a symbol in its
dictionary is then 4 + the folder's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MMFairseqError
from ._hf import States, build_net, library, quiet, read_folder, weight_files
from .base import BACKBONES, Backbone, FeatureSeq

TYPES = ("bert", "camembert", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
# These count positions from the number of <pad> + 1 on.
_OFFSET = ("camembert", "mpnet", "roberta", "xlm-roberta")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spm.model", "spiece.model")
SPECIAL = 4  # symbols that a dictionary begins with: <s>, <pad>, </s>, <unk>


@BACKBONES.register("hf_text")
class HfText(Backbone):
    """Hidden states of BERT, RoBERTa and their like, from a Hugging Face folder: one vector a token, [CLS] in front.

    Args:
        config: of the model, as in its config.json.
        vocabulary: number of symbols in the dictionary, 4 more than the tokenizer has.
        cls, pad, sep, unk: the tokenizer's numbers for <s>, <pad>, </s>, <unk>.
        layer: see `chosen_states`.
    """

    modality = "text"
    summarises = True

    def __init__(
        self,
        config: Mapping[str, Any],
        vocabulary: int,
        cls: int,
        pad: int,
        sep: int,
        unk: int,
        layer: int | str = "last",
    ) -> None:
        super().__init__()
        self.net = build_net(config, TYPES)
        known, special = self.net.config.vocab_size, (cls, pad, sep, unk)
        if not all(0 <= number < vocabulary - SPECIAL <= known for number in special):
            raise ValueError(
                f"cls, pad, sep, unk are {special} and vocabulary is {vocabulary}: they must be below {SPECIAL} less "
                f"than that, and the model has {known} symbols"
            )
        self.register_buffer("special", torch.tensor(special), persistent=False)
        body = self.net.transformer if config["model_type"] == "distilbert" else self.net.encoder
        self.hidden = States(self.net, body.layer, layer)
        self.dim, self.states = self.net.config.hidden_size, len(self.hidden.chosen)
        positions = self.net.config.max_position_embeddings
        self.max_input = positions - (self.net.config.pad_token_id + 1) * (config["model_type"] in _OFFSET)

    def layers(self) -> list[nn.Module]:
        return self.hidden.layers

    @classmethod
    def parts(cls, path: Path) -> list[Path]:
        return weight_files(path)

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config, weights = read_folder(path, TYPES)
        return {"config": config, **_tokenizer(path)}, weights

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        x = x.masked_fill(padding_mask, 1)
        ids = torch.where(x < SPECIAL, self.special[x.clamp(max=SPECIAL - 1)], x - SPECIAL)
        padded = torch.compiler.is_exporting() or padding_mask.any()
        mask = (~padding_mask).long() if padded else None
        out = self.net(input_ids=ids, attention_mask=mask, output_hidden_states=not self.hidden.last_only)
        return FeatureSeq(self.hidden.of(out).masked_fill(padding_mask[..., None], 0.0), padding_mask)


def _tokenizer(path: Path) -> dict[str, int]:
    """The size of a folder's tokenizer and its special symbols."""
    if not any((path / name).is_file() for name in TOKENIZERS):  # the library would make an empty one
        raise MMFairseqError(f"{path}: no tokenizer in the folder, none of {', '.join(TOKENIZERS)}")
    try:
        with quiet():
            tokenizer = library().AutoTokenizer.from_pretrained(
                str(path), local_files_only=True, trust_remote_code=False
            )
            size = max(tokenizer.get_vocab().values()) + 1
    except Exception as error:
        raise MMFairseqError(f"{path}: no usable tokenizer in the folder: {str(error)[:300]}") from error
    found = {
        "cls": tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id,
        "pad": tokenizer.pad_token_id,
        "sep": tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id,
        "unk": tokenizer.unk_token_id,
    }
    if absent := [name for name, number in found.items() if number is None]:
        raise MMFairseqError(f"{path}: the tokenizer has no symbol for {', '.join(absent)}")
    return {"vocabulary": SPECIAL + size, **found}


def same_words(folder: Path, tokenizer: Path) -> bool:
    """Whether a model's folder numbers its symbols as a tokenizer.json does."""
    if not tokenizer.is_file():
        return False
    with quiet():
        theirs = library().AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    ours = library().PreTrainedTokenizerFast(tokenizer_file=str(tokenizer))
    return theirs.get_vocab() == ours.get_vocab()
