"""vq-wav2vec (Baevski et al. 2020, arXiv 1910.05453), from the public files of fairseq's examples/wav2vec.

Deviations from upstream: norms see real frames only, as in `wav2vec`; distances are taken in single precision, under
half precision too; the k-means codes get a gradient, so that every weight learns; the codes of a Gumbel quantizer are
the most likely ones in training mode too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.modules import GumbelVectorQuantizer, KmeansVectorQuantizer
from torch import Tensor

from ..errors import MMFairseqError
from .base import BACKBONES, Backbone, FeatureSeq, feature_seq
from .files import options_of, pick
from .wav2vec import EXTRACTOR, Extractor, activation_of, read_wav2vec, run_block

_OPTIONS: dict[str, Any] = {
    "vq_type": ("kmeans", "gumbel"),
    "vq_vars": 320,
    "vq_groups": 2,
    "vq_dim": 0,
    "vq_depth": 1,
    "combine_groups": False,
}
_CODES = ("vector_quantizer.embedding", "vector_quantizer.vars")


@BACKBONES.register("vq_wav2vec")
class VqWav2Vec(Backbone):
    """Quantised features of vq-wav2vec, one frame each 10 ms, or the numbers of their codes; meant to stay frozen.

    Args:
        conv_feature_layers: (width, kernel, stride) a layer.
        others: as in fairseq's `Wav2VecConfig`.
    """

    modality = "audio"
    code_groups = 2  # by default

    def __init__(
        self,
        conv_feature_layers: Sequence[Sequence[int]] = EXTRACTOR,
        vq_type: str = "kmeans",
        vq_vars: int = 320,
        vq_groups: int = 2,
        vq_dim: int = 0,
        vq_depth: int = 1,
        combine_groups: bool = False,
        log_compression: bool = True,
        skip_connections_feat: bool = False,
        residual_scale: float = 0.5,
        non_affine_group_norm: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.feature_extractor = Extractor(
            conv_feature_layers,
            log_compression,
            skip_connections_feat,
            residual_scale,
            non_affine_group_norm,
            activation,
        )
        latent = self.feature_extractor.dim
        self.dim, self.groups, self.codes_per_group = vq_dim or latent, vq_groups, vq_vars
        self.code_groups = vq_groups
        if vq_type not in _OPTIONS["vq_type"]:
            raise ValueError(f"vq_type={vq_type!r}: allowed are {', '.join(_OPTIONS['vq_type'])}")
        if self.dim % vq_groups or (vq_type == "kmeans" and self.dim != latent):
            raise ValueError(f"vq_dim={vq_dim}: {latent} channels in {vq_groups} groups do not go into it")
        shared = {"dim": latent, "num_vars": vq_vars, "groups": vq_groups, "combine_groups": combine_groups}
        self.vector_quantizer = (
            KmeansVectorQuantizer(**shared, vq_dim=self.dim, time_first=False)
            if vq_type == "kmeans"
            else GumbelVectorQuantizer(
                **shared,
                vq_dim=self.dim,
                time_first=False,
                temp=(2.0, 0.5, 0.999995),
                activation=activation_of(activation),
                weight_proj_depth=vq_depth,
                weight_proj_factor=2,
            )
        )
        self.receptive_field, self.stride = self.feature_extractor.receptive_field, self.feature_extractor.stride

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        args, saved = read_wav2vec(path)
        args |= options_of(saved.model, _OPTIONS, path)
        weights = pick(saved.weights, ("feature_extractor.", "vector_quantizer."), path)
        codes = [weights[key].numel() for key in _CODES if key in weights]
        if codes and args["vq_vars"] > codes[0]:
            raise MMFairseqError(f"{path}: vq_vars is {args['vq_vars']}, more than the file has codes")
        return args, weights

    def codes(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """Numbers of the codes, (B, T, groups) from 0, 0 in the padding, and the padding mask (B, T)."""
        features, lengths = self.feature_extractor(x, padding_mask)
        return feature_seq(self._quantise(features, lengths)[0], lengths)

    def stored(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        return self.codes(x, padding_mask)

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """Encode samples (B, T), or codes (B, T, groups) that were cached."""
        if x.dim() == 3:
            return feature_seq(self._vectors(x), (~padding_mask).sum(1))
        features, lengths = self.feature_extractor(x, padding_mask)
        numbers, through = self._quantise(features, lengths)
        return feature_seq(self._vectors(numbers) + through, lengths)

    def _quantise(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers (B, T, groups) of the codes of features (B, C, T), and what their vectors (B, T, dim) learn through.

        That is zero, with the gradient of upstream's straight-through estimator.
        """
        vq = self.vector_quantizer
        if isinstance(vq, KmeansVectorQuantizer):
            soft = run_block(vq.projection, x, lengths).transpose(1, 2)  # B x T x C
            points = soft.unflatten(2, (self.groups, -1)).flatten(0, 1).transpose(0, 1)  # groups x BT x width
            numbers = _nearest(points, self._book()).transpose(0, 1).unflatten(0, (x.size(0), x.size(2)))
        else:
            scores = vq.weight_proj(x.transpose(1, 2)).unflatten(2, (self.groups, -1))  # B x T x groups x codes
            numbers = scores.argmax(-1)
            soft = torch.einsum("btgv,gvd->btgd", scores.float().softmax(-1).type_as(scores), self._book()).flatten(2)
        return numbers, soft - soft.detach()

    def _book(self) -> Tensor:
        """The vectors of the codes, (groups, codes, width)."""
        vq = self.vector_quantizer
        if isinstance(vq, KmeansVectorQuantizer):
            return vq.expand_embedding.transpose(0, 1)
        return vq.vars[0].view(-1, self.codes_per_group, vq.vars.size(2)).expand(self.groups, -1, -1)

    def _vectors(self, numbers: Tensor) -> Tensor:
        """Of codes (B, T, groups), side by side by group, (B, T, dim)."""
        pairs = zip(numbers.unbind(-1), self._book(), strict=True)
        return torch.cat([F.embedding(column, book) for column, book in pairs], dim=-1)


@torch.no_grad()
def _nearest(points: Tensor, book: Tensor) -> Tensor:
    """For each of (G, N, C) the number of the nearest of (G, V, C); the first of those that are equally near."""
    if torch.compiler.is_exporting():  # what other formats have is products, of which doubles are exact enough
        points, book = points.double(), book.double()
        return (book.square().sum(-1)[:, None] - 2 * points @ book.transpose(1, 2)).argmin(-1)
    dtype = torch.promote_types(points.dtype, torch.float)
    # by matrix products it would be faster, and wrong where codes are close to each other
    return torch.cdist(points.to(dtype), book.to(dtype), compute_mode="donot_use_mm_for_euclid_dist").argmin(-1)
