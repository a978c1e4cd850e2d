"""The multimodal Perceiver, fine-tuned: sound and pictures of the same time meet latents, of which a label is asked.

Perceiver IO (Jaegle et al. 2021, arXiv 2107.14795, section 4.4) as Hugging Face's `PerceiverForMultimodalAutoencoding`
computes it, with its modules and the weights of deepmind/multimodal-perceiver or new ones; the way it was fine-tuned on
CREMA-D: another label set, padded so that the width of a token stays, and another head.

Deviations from the original code, whose defects are numbered:
1. its pictures kept their numbers from 0 to 255 and were squeezed to a square; here they go from 0 to 1, as cut by
   `binarize` (--faces center --frame-size 224);
2. its audio of 16 kHz stood where 48 kHz was trained, its 64 frames were thinned out to 16; here 16 frames follow each
   other, and the audio is resampled to 48 kHz (`modules.av_windows.resampled`): num_frames * audio_samples_per_frame
   samples of the very same time;
3. its windows of audio and video were drawn apart, at evaluation too; here they begin together, anywhere in training,
   evenly spaced at evaluation, where the logits of --eval-windows of them are averaged;
4. its labels were numbered by the order of a set, and one variant had more outputs than the label vector; here the
   targets of the data-bin say both;
5. its part of the pixels to be decoded was of a wrong size and could lie outside; what was decoded was thrown away;
   here the label alone is decoded, and with --reconstruction-weight random points, which must match what went in;
6. it trained everything with Adam at 0.01 and never saved what it then loaded: see examples/crema_d for a recipe;
- frames and samples beyond the end of a clip, and whatever a row lacks, are masked, so that a clip's result does not
  depend on its batch;
- text can come in too: its features are projected, get Fourier positions and a learned padding as the others have;
- keys and values of the first cross-attention are not computed for each of 52,097 tokens (`modules.perceiver`).
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fairseq.models import register_model
from torch import Tensor, nn

from ..backbones import SAMPLE_RATE, FeatureSeq
from ..errors import MMFairseqError
from ..modules import av_windows, reconstruction
from ..modules.heads import Heads
from ..modules.perceiver import (
    Tokens,
    folded_attention,
    folding_pays,
    fourier,
    grid,
    projected_attention,
    space_to_depth,
    token_weights,
)
from ..modules.recording import record, recording
from . import _perceiver
from ._base import Attends, FusionModel
from ._checks import flag
from ._perceiver import AUDIO_BANDS, BLOCK, IMAGE_BANDS
from ._perceiver_options import PerceiverEmoConfig, check, fps_of, sizes_of

logger = logging.getLogger(__name__)

INPUT = {"audio": "audio", "video": "image"}  # modality to its name in the network
RATE = 48000  # Hz, of the audio that the released checkpoint was trained on
TEXT_BANDS, TEXT_CHANNELS = 64, 256
MOST_TOKENS = 2**19  # at once in evaluation


class TextTokens(nn.Module):
    """Features of a text as tokens: projected, with Fourier features of their place, and what pads them.

    Args:
        dim: width of the features.
        width: C of a token.
        longest: text, which goes from place -1 to 1.
    """

    def __init__(self, dim: int, width: int, longest: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, TEXT_CHANNELS)
        positions = fourier(grid([max(2, longest)]), TEXT_BANDS, [longest])
        self.register_buffer("positions", positions, persistent=False)
        self.padding = nn.Parameter(0.02 * torch.randn(width - TEXT_CHANNELS - positions.size(1)))

    def forward(self, x: Tensor, mask: Tensor) -> Tokens:
        """Of `x` (B, T, dim) and `mask` (B, T)."""
        places = self.positions[: x.size(1)].to(x.dtype).expand(x.size(0), -1, -1)
        return Tokens(torch.cat([self.project(x), places], dim=-1), self.padding, mask)


@register_model("perceiver_emo", dataclass=PerceiverEmoConfig)
class PerceiverEmo(FusionModel):
    """The model, for any of audio, video and text; see the module.

    Args:
        cfg: sizes; `cfg.backbone_args` says what the backbones are built from, `cfg.fusion_args` the sizes of a folder.
        outputs: target name to number of outputs.

    Raises:
        MMFairseqError: a size is not possible, a backbone does not fit, there are too many labels, or `transformers`
            is not installed.
    """

    may_be_pretrained = True
    attends = (Attends(r"net\.encoder\.cross_attention\.attention\.self", "", ""),)

    def __init__(self, cfg: PerceiverEmoConfig, outputs: dict[str, int]) -> None:
        check(cfg)
        entries = dict(cfg.backbone_args)
        self.sizes, self.fps = sizes_of(cfg), fps_of(cfg, entries)
        frames = {"audio": int(cfg.longest_clip * SAMPLE_RATE), "video": int(cfg.longest_clip * self.fps)}
        super().__init__(cfg, {**frames, "text": cfg.max_len_for_text})
        self.side = BLOCK * self.sizes["image_size"]
        if "video" in entries and entries["video"]["args"]["size"] != self.side:
            raise MMFairseqError(
                f"--video-backbone pixels has size={entries['video']['args']['size']}, the network takes pictures of "
                f"{self.side}x{self.side}: --image-size {self.side}"
            )
        self.window = self.sizes["num_frames"]
        self.samples = self.window * self.sizes["audio_samples_per_frame"]
        self.rate = self.sizes["audio_samples_per_frame"] * self.fps
        if "audio" in entries and self.rate != RATE:
            logger.warning(
                "audio at %g Hz: %d samples go with each of %g frames a second; the released checkpoint heard %d Hz",
                *(self.rate, self.sizes["audio_samples_per_frame"], self.fps, RATE),
            )
        self.eval_windows, self.recompute = cfg.eval_windows, cfg.checkpoint_activations
        self.weight, self.points = cfg.reconstruction_weight, cfg.reconstruction_points
        parts = [INPUT[name] for name in sorted(entries) if name in INPUT]
        if self.weight and not parts:
            raise MMFairseqError(
                f"--reconstruction-weight {self.weight}: there is neither audio nor video to reconstruct"
            )
        try:
            self.net = _perceiver.network(self.sizes, sum(outputs.values()), parts, parts if self.weight else [])
        except ValueError as error:
            name, _, rest = str(error).partition(" ")
            own = cfg.fusion_args is None and hasattr(cfg, name)
            raise MMFairseqError(f"{flag(name)} {rest}" if own else f"perceiver_emo: {error}") from error
        width, dims = self.sizes["width"], self.backbones.dims
        self.text = TextTokens(dims["text"], width, cfg.max_len_for_text) if "text" in dims else None
        self.heads = Heads(self.sizes["output_num_channels"], {}, 0.0, hidden=False)
        for name, size in outputs.items():
            first = nn.Linear(self.sizes["output_num_channels"], cfg.head_dim)
            self.heads.out[f"to_{name}"] = nn.Sequential(
                first, nn.Dropout(cfg.head_dropout), nn.Linear(cfg.head_dim, size)
            )
        image = (self.window, self.sizes["image_size"], self.sizes["image_size"])
        patches = self.samples // self.sizes["samples_per_patch"]
        self.axes = {"audio": (patches,), "image": (self.window, self.side, self.side)}  # of what is decoded
        self.bands = {"audio": (AUDIO_BANDS, (self.samples,)), "image": (IMAGE_BANDS, image)}
        for name, axes in (("audio", (patches,)), ("image", image)):
            positions = fourier(grid(axes), *self.bands[name]) if name in parts else None
            self.register_buffer(f"{name}_positions", positions, persistent=False)

    @classmethod
    def backbone_defaults(cls, cfg: Any, fps: float | None = None) -> dict[str, dict[str, Any]]:
        return {"video": {"size": cfg.image_size} | ({"fps": float(fps)} if fps else {})}

    @classmethod
    def fusion_file(cls, cfg: Any) -> str:
        return str(cfg.perceiver)

    @classmethod
    def read_fusion(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return _perceiver.read(path)

    def load_fusion(self, weights: Mapping[str, Tensor]) -> None:
        own = self.net.state_dict()
        used = {key for key, value in weights.items() if key in own and own[key].shape == value.shape}
        self.net.load_state_dict({**own, **{key: weights[key] for key in used}})
        logger.info(
            "pretrained Perceiver: %d weights loaded; left out: %s; new: %s",
            *(len(used), ", ".join(sorted(weights.keys() - used)), ", ".join(sorted(own.keys() - used)) or "none"),
        )

    def fuse(self, features: dict[str, FeatureSeq]) -> Tensor:
        return self.fuse_with_losses(features)[0]

    def fuse_with_losses(self, features: dict[str, FeatureSeq]) -> tuple[Tensor, dict[str, Tensor]]:
        """The decoded label, (B, D), mean over the windows of a clip; `reconstruction`, where it is weighted."""
        real = {name: (~each.padding_mask).sum(1) for name, each in features.items()}
        some = next(iter(real.values()))
        frames = torch.zeros_like(some)
        if "audio" in real:
            frames = (real["audio"] * (self.fps / SAMPLE_RATE)).ceil().long()
        if "video" in real:
            frames = torch.where(real["video"] > 0, real["video"], frames)
        if torch.compiler.is_exporting():
            return self._every_window(features, real, frames), {}
        rows, begin = av_windows.starts(frames, self.window, self.eval_windows, self.training)
        size = 1 + sum(getattr(self, f"{name}_positions").size(0) for name in self._parts())
        step = len(rows) if self.training else max(1, MOST_TOKENS // size)
        if recording():
            self._record(features, real, rows, begin)
        labels, errors = [], []
        for row, first in zip(rows.split(step), begin.split(step), strict=True):
            label, error = self._windows(features, real, row, first)
            labels.append(label)
            errors += [] if error is None else [error]
        label = torch.cat(labels)
        count = torch.zeros_like(some).index_add(0, rows, torch.ones_like(rows))
        mean = label.new_zeros(len(some), label.size(1)).index_add(0, rows, label) / count[:, None]
        return mean, {"reconstruction": self.weight * torch.cat(errors)} if errors else {}

    def _every_window(self, features: dict[str, FeatureSeq], real: Mapping[str, Tensor], frames: Tensor) -> Tensor:
        """What `fuse` gives, without a look at how many windows a clip has: all have as many, some of no weight."""
        begin, there = av_windows.every_start(frames, self.window, self.eval_windows)
        rows = torch.arange(begin.size(0), device=begin.device)[:, None].expand(begin.shape).flatten()
        tokens, _ = self._cut(features, real, rows, begin.flatten())
        label = self._decode(self._encode(list(tokens.values())), [self._query("label", None)])[:, 0]
        label = label.unflatten(0, begin.shape).masked_fill(~there[..., None], 0.0)
        return label.sum(1) / there.sum(1, keepdim=True)

    def _parts(self) -> list[str]:
        return [name for name in ("audio", "image") if name in self.net.input_preprocessor.padding]

    def _cut(
        self, features: dict[str, FeatureSeq], real: Mapping[str, Tensor], rows: Tensor, begin: Tensor
    ) -> tuple[dict[str, Tokens], dict[str, tuple[Tensor, Tensor]]]:
        """Tokens of windows, and what can be decoded of them, with a mask of what of it is real."""
        tokens: dict[str, Tokens] = {}
        windows: dict[str, tuple[Tensor, Tensor]] = {}
        if "audio" in features:
            x, mask = av_windows.resampled(
                features["audio"].x[rows, :, 0],
                real["audio"][rows],
                begin.double() / self.fps,
                *(self.samples, self.rate, SAMPLE_RATE),
            )
            patch = self.sizes["samples_per_patch"]
            windows["audio"] = (x.unflatten(1, (-1, patch)), ~mask.unflatten(1, (-1, patch)))
            tokens["audio"] = self._tokens("audio", windows["audio"][0], mask.unflatten(1, (-1, patch)).all(2))
        if "video" in features:
            x, mask = av_windows.cut(features["video"].x[rows], real["video"][rows], begin, self.window)
            x = x.unflatten(2, (3, self.side, self.side))
            windows["image"] = (x, ~mask)
            mask = mask.repeat_interleave(self.side**2 // BLOCK**2, 1)
            tokens["video"] = self._tokens("image", space_to_depth(x, BLOCK), mask)
        label = self.net.input_preprocessor.mask["label"]
        everywhere = torch.zeros(rows.size(0), 1, dtype=torch.bool, device=label.device)
        tokens["label"] = Tokens(label.expand(rows.size(0), 1, -1), label.new_zeros(0), everywhere)
        if self.text is not None:
            tokens["text"] = self.text(features["text"].x[rows], features["text"].padding_mask[rows])
        return tokens, windows

    def _windows(
        self, features: dict[str, FeatureSeq], real: Mapping[str, Tensor], rows: Tensor, begin: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The decoded label of each window, (M, D), and the error of its reconstruction, (M)."""
        tokens, windows = self._cut(features, real, rows, begin)
        kept, idle = [each for each in tokens.values() if not each.mask.all()], 0.0
        for each in tokens.values():  # what nobody has is left out, but its parameters take part
            idle = idle + 0 * (each.padding.sum() + each.x[:, :1].sum()) if each.mask.all() else idle
        latents = self._encode(kept) + idle
        if not (self.training and self.weight):
            return self._decode(latents, [self._query("label", None)])[:, 0], None
        return self._reconstruct(latents, windows)

    def _tokens(self, name: str, x: Tensor, mask: Tensor) -> Tokens:
        places = getattr(self, f"{name}_positions").to(x.dtype).expand(x.size(0), -1, -1)
        return Tokens(torch.cat([x, places], dim=-1), self.net.input_preprocessor.padding[name][0], mask)

    def _encode(self, tokens: list[Tokens]) -> Tensor:
        """Latents (M, N, D) that have seen the tokens."""
        encoder, latents = self.net.encoder, self.net.embeddings.latents
        layer = encoder.cross_attention
        attention = layer.attention.self
        queries = attention.query(attention.layernorm1(latents))
        parts = (attention.layernorm2, attention.key, attention.value, attention.num_heads)
        dropout = attention.dropout.p if self.training else 0.0
        own = max(tokens, key=lambda each: each.x.size(1)).x.size(2)
        projected = attention.qk_channels + attention.v_channels
        if folding_pays(len(latents), attention.num_heads, own, self.sizes["width"], projected):
            seen = folded_attention(queries, tokens, *parts, dropout, self.recompute)
        else:
            seen = projected_attention(queries, tokens, *parts, dropout)
        x = layer.attention.output.dense(seen)
        x = x + latents if layer.attention.use_query_residual else x
        x = x + layer.feed_forward_chunk(x)
        for _ in range(self.sizes["num_blocks"]):
            for each in encoder.self_attends:
                x = each(x)[0]
        return x

    def _record(self, features: dict[str, FeatureSeq], real: Mapping[str, Tensor], rows: Tensor, begin: Tensor) -> None:
        """Write down what the latents attend to, by frames of the clips, mean over the windows of each."""
        layer = self.net.encoder.cross_attention.attention
        attention, latents = layer.self, self.net.embeddings.latents
        queries = attention.query(attention.layernorm1(latents))
        parts = (attention.layernorm2, attention.key, attention.num_heads)
        share = 1 / torch.bincount(rows, minlength=len(next(iter(real.values()))))
        found: dict[str, Tensor] = {}  # B x 1 x T
        for row, first in zip(rows.split(1), begin.split(1), strict=True):
            tokens, _ = self._cut(features, real, row, first)
            kept = {name: each for name, each in tokens.items() if not each.mask.all()}
            for name, weights in zip(kept, token_weights(queries, list(kept.values()), *parts), strict=True):
                if name == "label":
                    continue
                if name != "text":  # tokens of sound and pictures follow each other in time
                    per_frame = weights.size(1) / self.window
                    frame = ((torch.arange(weights.size(1), device=weights.device) + 0.5) / per_frame).long()
                    weights = weights.new_zeros(1, int(begin.max()) + self.window).index_add(1, first + frame, weights)
                if name not in found:
                    found[name] = weights.new_zeros(len(share), 1, weights.size(1))
                found[name][row] += share[row, None, None] * weights[:, None]
        for name, weights in found.items():
            record(attention, weights, modality=name, rate=0.0 if name == "text" else self.fps)

    def _query(self, name: str, positions: Tensor | None) -> Tensor:
        """Queries (n, Q) for points at `positions` (n, axes), or for the label."""
        decoder = self.net.decoder
        if positions is None:
            x = decoder.modalities["label"].decoder.output_position_encodings.position_embeddings
        else:
            x = fourier(positions, *self.bands[name]).to(decoder.padding[name].dtype)
        return torch.cat([x, decoder.padding[name].expand(x.size(0), -1)], dim=-1)

    def _decode(self, latents: Tensor, queries: list[Tensor]) -> Tensor:
        """What the latents (M, N, D) answer to queries (n, Q) each: (M, all n, D)."""
        decoder = self.net.decoder.decoder
        query = torch.cat(queries).expand(latents.size(0), -1, -1)
        return decoder.final_layer(decoder.decoding_cross_attention(query, inputs=latents)[0])

    def _reconstruct(self, latents: Tensor, windows: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        points = {name: reconstruction.draw(self.axes[name], self.points, latents.device) for name in windows}
        queries = [self._query("label", None), *(self._query(name, place) for name, (_, place) in points.items())]
        label, *decoded = self._decode(latents, queries).split([len(each) for each in queries], dim=1)
        found = {}
        for (name, (index, _)), x in zip(points.items(), decoded, strict=True):
            truth, real = windows[name]
            if name == "image":
                frame, row, column = index.unbind(1)
                truth, real = truth[:, frame, :, row, column].transpose(0, 1), real[:, frame, None]
            else:
                truth, real = truth[:, index[:, 0]], real[:, index[:, 0]]
            prediction = self.net.output_postprocessor.modalities[name].classifier(x)
            found[name] = (prediction, truth, real.expand(truth.shape))
        return label[:, 0], reconstruction.mean_error(found)
