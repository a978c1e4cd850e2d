"""CPU-seconds a sample of training `wave_text` on raw audio and text, clipping and fairseq's Adam included.

    python tests/bench/wave_text.py [--steps N] [--quick]

65 pieces of 1000 samples and 9 tokens of 125, width 256, 8 heads, feed-forward 512, layers 3 / 2 / 2, dropout 0.2,
batches of 100, two threads. The reference is the original's network in plain torch, with its defects of initialisation
mended, on the same weights: every text position attends to the audio, keys and values of which are projected in each
layer. The last line is JSON; `value`, the median over the steps, must stay below `limit`, 0.015 times `scale`.
"""

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded

import resource
import statistics
import time

import torch
import torch.nn.functional as F
from calibration import scale
from fairseq.optim.adam import Adam
from torch import Tensor, nn

from mm_fairseq.backbones.spec import complete
from mm_fairseq.models.wave_text import WaveText, WaveTextConfig
from mm_fairseq.modules.positions import sinusoid
from mm_fairseq.modules.transformer import TransformerLayer
from mm_fairseq.modules.waveform import normalised

LIMIT = 0.015
BATCH = 100
PIECES, SAMPLES, TOKENS, SYMBOLS = 65, 1000, 9, 125
OUTPUTS = {"action": 6, "object": 14, "location": 4}
WEIGHTS = {"action": 6 / 24, "object": 14 / 24, "location": 4 / 24}


class Attention(nn.Module):
    """Four linear layers and the weights written out."""

    def __init__(self, theirs: nn.MultiheadAttention, dropout: float) -> None:
        super().__init__()
        self.heads, dim = theirs.num_heads, theirs.embed_dim
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            weights, biases = theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3)
            for layer, weight, bias in zip((self.query, self.key, self.value), weights, biases, strict=True):
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
        self.out.load_state_dict(theirs.out_proj.state_dict())

    def forward(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        parts = (self.query(query), self.key(key), self.value(key))
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in parts)  # B x H x T x d
        scores = q @ k.transpose(2, 3) / q.size(-1) ** 0.5
        if mask is not None:
            scores = scores.masked_fill(mask, -1e10)
        return self.out((self.dropout(scores.softmax(-1)) @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Post-norm: attention to itself or to a key, feed-forward."""

    def __init__(self, ours: TransformerLayer, dropout: float) -> None:
        super().__init__()
        self.attention, self.dropout = Attention(ours.self_attn, dropout), nn.Dropout(dropout)
        self.norm1, self.norm2 = nn.LayerNorm(ours.norm1.normalized_shape), nn.LayerNorm(ours.norm1.normalized_shape)
        self.linear1 = nn.Linear(ours.linear1.in_features, ours.linear1.out_features)
        self.linear2 = nn.Linear(ours.linear2.in_features, ours.linear2.out_features)
        for name in ("norm1", "norm2", "linear1", "linear2"):
            getattr(self, name).load_state_dict(getattr(ours, name).state_dict())

    def forward(self, x: Tensor, mask: Tensor | None = None, key: Tensor | None = None) -> Tensor:
        x = self.norm1(x + self.dropout(self.attention(x, x if key is None else key, mask)))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(self.linear1(x).relu()))))


class Original(nn.Module):
    """The network as the original computes it, with the weights of `model`."""

    def __init__(self, model: WaveText, dropout: float) -> None:
        super().__init__()
        self.pieces = nn.Linear(SAMPLES, model.heads.out["to_action"].in_features)
        self.pieces.load_state_dict(model.backbones.encoders["audio"].pieces.linear.state_dict())
        self.table = nn.Embedding(SYMBOLS, self.pieces.out_features)
        self.table.load_state_dict(model.backbones.encoders["text"].table.state_dict())
        self.dropout = nn.Dropout(dropout)
        self.audio, self.text = (
            nn.ModuleList(Layer(each, dropout) for each in model.encoders[name].layers) for name in ("audio", "text")
        )
        self.cross = nn.ModuleList(Layer(each, dropout) for each in model.cross)
        self.out = nn.ModuleDict({name: nn.Linear(self.pieces.out_features, size) for name, size in OUTPUTS.items()})
        for name, layer in self.out.items():
            layer.load_state_dict(model.heads.out[f"to_{name}"].state_dict())

    def forward(self, inputs: dict[str, Tensor], padding_masks: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        audio = self.pieces(normalised(inputs["audio"], padding_masks["audio"]).unflatten(1, (-1, SAMPLES)))
        text = self.table(inputs["text"])
        audio, text = (self.dropout(x + sinusoid(x.size(1), x.size(2), x)) for x in (audio, text))
        for layer in self.audio:
            audio = layer(audio)
        for layer in self.text:
            text = layer(text, padding_masks["text"][:, None, None])
        for layer in self.cross:
            text = layer(text, key=audio)
        return {"logits": {name: layer(text[:, 0]) for name, layer in self.out.items()}}


def model_of() -> WaveText:
    """With the backbones of the recipe."""
    cfg = WaveTextConfig()
    entries = {
        "audio": {"name": "wave_pieces", "args": {"samples": SAMPLES, "dim": cfg.d_model}},
        "text": {"name": "embedding", "args": {"vocabulary": SYMBOLS, "dim": cfg.d_model}},
    }
    cfg.backbone_args = {name: complete(entry | {"frozen": False, "sha256": {}}) for name, entry in entries.items()}
    return WaveText(cfg, OUTPUTS)


class Training:
    """Steps on one batch of rows of full length."""

    def __init__(self) -> None:
        text = torch.randint(4, SYMBOLS, (BATCH, TOKENS))
        text[:, 0], text[:, -1] = 0, 2
        self.inputs = {"audio": 0.1 * torch.randn(BATCH, PIECES * SAMPLES), "text": text}
        self.masks = {name: torch.zeros(x.shape, dtype=torch.bool) for name, x in self.inputs.items()}
        self.targets = {name: torch.randint(size, (BATCH,)) for name, size in OUTPUTS.items()}

    def logits(self, model: nn.Module) -> dict[str, Tensor]:
        return model(self.inputs, self.masks)["logits"]

    def cost(self, model: nn.Module, steps: int) -> float:
        """CPU-seconds a sample, the median over steps behind the first."""
        optimizer, seen = Adam(model.train().parameters(), 5e-4), []
        for _ in range(steps + 1):
            start = time.process_time()
            optimizer.zero_grad(set_to_none=True)
            logits = self.logits(model)
            loss = [WEIGHTS[name] * F.cross_entropy(logits[name], goal) for name, goal in self.targets.items()]
            torch.stack(loss).sum().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            seen.append((time.process_time() - start) / BATCH)
        return statistics.median(seen[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=9, help="steps of which the median is taken (default: 9)")
    parser.add_argument("--quick", action="store_true", help="three steps, one of the reference")
    given = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    model, training = model_of(), Training()
    original = Original(model, WaveTextConfig.dropout)
    with torch.no_grad():
        ours, theirs = (training.logits(each.eval()) for each in (model, original))
    difference = max(float((ours[name] - theirs[name]).abs().max()) for name in OUTPUTS)
    machine = [scale(3 if given.quick else 7)]
    value = training.cost(model, 3 if given.quick else given.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    reference = training.cost(original, 1 if given.quick else 5)
    machine.append(scale(3 if given.quick else 7))
    factor = statistics.mean(machine)
    result = {
        "name": "wave_text",
        "value": round(value, 5),
        "unit": "CPU-seconds a sample",
        "reference": round(reference, 5),
        "ratio": round(value / reference, 4),
        "peak_rss_gb": round(peak, 2),
        "scale": round(factor, 3),
        "limit": round(LIMIT * factor, 5),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "largest_difference": difference,
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
