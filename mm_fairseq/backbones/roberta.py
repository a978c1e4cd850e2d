"""RoBERTa (Liu et al. 2019, arXiv 1907.11692), from a hub folder or its model.pt."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models.roberta.model import RobertaEncoder, base_architecture
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..untrusted import read_checkpoint
from .base import BACKBONES, Backbone, FeatureSeq, chosen_states
from .files import model_args, options_of, pick, state_dict

_SIZES = {"encoder_layers": int, "encoder_embed_dim": int, "encoder_ffn_embed_dim": int, "encoder_attention_heads": int}
_OTHERS = {
    "max_positions": int,
    "dropout": float,
    "attention_dropout": float,
    "activation_dropout": float,
    "activation_fn": str,
    "encoder_normalize_before": bool,
    "layernorm_embedding": bool,
}


@BACKBONES.register("roberta")
class Roberta(Backbone):
    """A hidden layer of RoBERTa, one vector a token; position 0 is <s>.

    Args:
        vocabulary: number of symbols, special ones and <mask> included; <pad> is 1.
        layer: see `chosen_states`.
        others: as fairseq names them; their defaults are those of `roberta_base`.
    """

    modality = "text"
    summarises = True

    def __init__(
        self,
        vocabulary: int,
        layer: int | str = "last",
        encoder_layers: int = 12,
        encoder_embed_dim: int = 768,
        encoder_ffn_embed_dim: int = 3072,
        encoder_attention_heads: int = 12,
        max_positions: int = 512,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        activation_fn: str = "gelu",
        encoder_normalize_before: bool = False,
        layernorm_embedding: bool = True,
    ) -> None:
        super().__init__()
        args = Namespace(
            encoder_layers=encoder_layers,
            encoder_embed_dim=encoder_embed_dim,
            encoder_ffn_embed_dim=encoder_ffn_embed_dim,
            encoder_attention_heads=encoder_attention_heads,
            max_positions=max_positions,
            dropout=dropout,
            attention_dropout=attention_dropout,
            activation_dropout=activation_dropout,
            activation_fn=activation_fn,
            encoder_normalize_before=encoder_normalize_before,
            layernorm_embedding=layernorm_embedding,
        )
        base_architecture(args)
        dictionary = Dictionary()
        for index in range(len(dictionary), vocabulary):
            dictionary.add_symbol(f"symbol{index}")
        self.encoder = RobertaEncoder(args, dictionary)
        del self.encoder.lm_head
        self.dim, self.max_input = args.encoder_embed_dim, args.max_source_positions
        self.pad = dictionary.pad()
        self.chosen = chosen_states(layer, args.encoder_layers)
        self.states = len(self.chosen)
        inner = self.encoder.sentence_encoder
        inner.layers[max(self.chosen) :].requires_grad_(False)  # they never run
        if inner.layer_norm is not None and max(self.chosen) < args.encoder_layers:
            inner.layer_norm.requires_grad_(False)

    def layers(self) -> list[nn.Module]:
        return list(self.encoder.sentence_encoder.layers[: max(self.chosen)])

    @classmethod
    def parts(cls, path: Path) -> list[Path]:
        return [path / "model.pt" if path.is_dir() else path]

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        path = cls.parts(path)[0]
        state = read_checkpoint(path)
        saved = model_args(state, path)
        missing = [name for name in _SIZES if name not in saved]
        if "model" not in state or (
            missing and not str(saved.get("arch", saved.get("_name", ""))).startswith("roberta")
        ):
            raise MMFairseqError(f"{path}: not a RoBERTa checkpoint: no {missing or 'model'} in it")
        if not missing or saved.get("arch") == "roberta_base":
            sizes = {}
        elif saved.get("arch") == "roberta_large":
            sizes = dict(zip(_SIZES, (24, 1024, 4096, 16), strict=True))
        else:
            raise MMFairseqError(f"{path}: the options lack {missing}")
        args = options_of({**saved, **sizes}, {**_SIZES, **_OTHERS}, path)
        weights = {_modern(key): value for key, value in state_dict(state["model"], path).items()}
        weights = _split_projections(pick(weights, ("encoder.sentence_encoder.",), path), path)
        weights.setdefault("encoder.sentence_encoder.version", torch.tensor([3.0]))  # old files lack it
        symbols = weights.get(name := "encoder.sentence_encoder.embed_tokens.weight")
        if symbols is None or symbols.dim() != 2:
            found = "missing" if symbols is None else f"of shape {tuple(symbols.shape)}"
            raise MMFairseqError(f"{path}: {name} is {found}, expected a vector for each symbol")
        args["vocabulary"] = symbols.size(0)
        return args, weights

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        encoder = self.encoder.sentence_encoder
        x, _ = encoder.forward_embedding(x.masked_fill(padding_mask, self.pad))
        x = x.masked_fill(padding_mask[..., None], 0.0).transpose(0, 1)  # T x B x C
        mask = padding_mask if torch.compiler.is_exporting() or padding_mask.any() else None
        states = [x]
        for layer in self.layers():
            states.append(layer(states[-1], encoder_padding_mask=mask))
        if encoder.layer_norm is not None and len(states) > len(encoder.layers):
            states[-1] = encoder.layer_norm(states[-1])
        features = torch.cat([states[number] for number in self.chosen], dim=-1).transpose(0, 1)
        return FeatureSeq(features.masked_fill(padding_mask[..., None], 0.0), padding_mask)


def _modern(key: str) -> str:
    """Names of fairseq 0.9 and before to those of 0.12."""
    if key.startswith("decoder."):
        key = "encoder." + key.removeprefix("decoder.")
    return key.replace(".emb_layer_norm.", ".layernorm_embedding.")


def _split_projections(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Split `in_proj_{weight,bias}`, the query, key and value projections in one, as old files have them."""
    out: dict[str, Tensor] = {}
    for key, value in weights.items():
        stem, found, kind = key.rpartition("in_proj_")
        if found:
            if value.dim() == 0 or value.size(0) % 3:
                raise MMFairseqError(f"{path}: {key} is of shape {tuple(value.shape)}, expected three parts")
            for name, part in zip("qkv", value.chunk(3), strict=True):
                out[f"{stem}{name}_proj.{kind}"] = part
        else:
            out[key] = value
    return out
