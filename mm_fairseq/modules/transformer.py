"""Transformer layers for self-attention and for attention to another sequence, with frames that are padding.

Vaswani et al., "Attention is all you need", NeurIPS 2017, arXiv 1706.03762; the order of normalisation and the keys of
the pre-norm cross-attention as in Tsai et al., "Multimodal transformer for unaligned multimodal language sequences",
ACL 2019, arXiv 1906.00295 (MulT).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import attend
from .dropout import Dropout, relu_dropout
from .feed_forward import feed_forward, suits
from .pooling import last_frame
from .positions import sinusoid


class TransformerLayer(nn.TransformerEncoderLayer):
    """`torch.nn.TransformerEncoderLayer`, of the same weights, which can attend to another sequence as well.

    Pre-norm, keys are normalised by the LayerNorm of the queries, or by one of their own where they have another width;
    post-norm, they are taken as they are.

    Args:
        dim: width D.
        heads: attention heads, which divide D.
        ffn_dim: inner width of the feed-forward part.
        norm_first: pre-norm.
        attention_dropout: of the attention's weights.
        relu_dropout: behind the activation.
        residual_dropout: of what each part adds.
        key_dim: width Ck of the keys, if it is another one.
        activation: of the feed-forward part.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        ffn_dim: int,
        norm_first: bool,
        attention_dropout: float,
        relu_dropout: float,
        residual_dropout: float,
        key_dim: int | None = None,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ) -> None:
        super().__init__(dim, heads, ffn_dim, 0.0, activation, batch_first=True, norm_first=norm_first)
        if key_dim not in (None, dim):
            self.self_attn = nn.MultiheadAttention(dim, heads, kdim=key_dim, vdim=key_dim, batch_first=True)
        self.self_attn.dropout = attention_dropout
        self.dropout = Dropout(relu_dropout)
        self.dropout1, self.dropout2 = (Dropout(residual_dropout) for _ in range(2))
        own = norm_first and key_dim not in (None, dim)
        self.key_norm = nn.LayerNorm(key_dim) if own else None  # type: ignore[arg-type]

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        padding_mask: Tensor,
        key: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        causal: bool = False,
        last: bool = False,
    ) -> Tensor:
        """Encode.

        Args:
            x: queries (B, Tq, D).
            padding_mask: theirs, (B, Tq); padding stands behind.
            key: what they attend to, (B, Tk, Ck); themselves without it.
            key_padding_mask: (B, Tk), with `key`; padding stands behind. A row without any key gets nothing from it.
            causal: see no key of a later time, see `row_attention.later`.
            last: compute the last real frame of each row alone.

        Returns:
            (B, Tq, D), or (B, 1, D) with `last`; what stands in the padding means nothing.
        """
        keys = None if key is None else self._normalised(key, self.key_norm or self.norm1)
        if last:
            keys = self._normalised(x, self.norm1) if keys is None else keys
            key_padding_mask = padding_mask if key_padding_mask is None else key_padding_mask
            x = x[torch.arange(x.size(0), device=x.device), last_frame(padding_mask)][:, None]
            padding_mask = padding_mask.all(dim=1, keepdim=True)
        query = self._normalised(x, self.norm1)
        keys = query if keys is None else keys
        key_mask = padding_mask if key_padding_mask is None else key_padding_mask
        attended = attend(self.self_attn, query, keys, padding_mask, key_mask, causal)
        x = x + self.dropout1(attended)
        if not self.norm_first:
            x = self.norm1(x)
        x = x + self.dropout2(self._feed_forward(self._normalised(x, self.norm2)))
        return x if self.norm_first else self.norm2(x)

    def _feed_forward(self, x: Tensor) -> Tensor:
        dropout, first, second = self.dropout.p, self.linear1, self.linear2
        if self.activation is not F.relu:
            return second(self.dropout(self.activation(first(x))))
        if self.training and suits(x, first.out_features, dropout):
            return feed_forward(x, first.weight, first.bias, second.weight, second.bias, dropout)
        return second(relu_dropout(first(x), dropout, self.training))

    def _normalised(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        return norm(x) if self.norm_first else x


class Transformer(nn.Module):
    """Scaled input with sinusoids and dropout, layers, and a last LayerNorm where they are pre-norm.

    The other sequence, if there is one, is scaled, gets positions and dropout as well, and stays as it is from layer to
    layer. Weights are drawn as Glorot and Bengio (2010) do, uniformly, biases are zero.

    Args:
        dim: width D, of both sequences.
        heads, ffn_dim, norm_first, attention_dropout, relu_dropout, residual_dropout: of each `TransformerLayer`.
        layers: how many.
        embed_dropout: of the input, with its positions.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        layers: int,
        ffn_dim: int,
        norm_first: bool = True,
        attention_dropout: float = 0.0,
        relu_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        embed_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.scale = dim**0.5
        self.dropout = Dropout(embed_dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(dim, heads, ffn_dim, norm_first, attention_dropout, relu_dropout, residual_dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim) if norm_first else None
        self.layers.apply(init_glorot)

    def forward(
        self,
        x: Tensor,
        padding_mask: Tensor,
        key: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        causal: bool = False,
        last: bool = False,
    ) -> Tensor:
        """Encode; arguments and result are those of `TransformerLayer`, both sequences of width D."""
        x = self._embedded(x)
        key = None if key is None else self._embedded(key)
        for number, layer in enumerate(self.layers, 1):
            x = layer(x, padding_mask, key, key_padding_mask, causal, last and number == len(self.layers))
        return x if self.norm is None else self.norm(x)

    def _embedded(self, x: Tensor) -> Tensor:
        return self.dropout(self.scale * x + sinusoid(x.size(1), x.size(2), x))


def init_glorot(module: nn.Module) -> None:
    """For `apply`: weights of linear layers as Glorot and Bengio (2010) draw them, uniformly; biases are zero."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
