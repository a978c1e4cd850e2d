"""CPU-seconds a sample of training the graph part of `av_graph`: forward, backward and fairseq's Adam.

    python tests/bench/av_graph_cached.py [--steps N] [--threads N] [--quick]

20 audio and 10 video nodes of 512 cached features, hidden 512, four layers of which the last fuses, batches of 8, one
thread: products of 80 to 160 rows gain less from a second one than it costs (`--threads 2` shows it). The reference is
the same network as the original computes it: torch_geometric's HeteroConv, a graph for each clip, on the same weights.
The last line is JSON; `value`, the median over the steps, must stay below `limit`, 0.012 times `scale`; gradients are
clipped as well, which it leaves out and `with_clipping` has.
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
from torch_geometric.nn import HeteroConv

from mm_fairseq.backbones.spec import complete
from mm_fairseq.models.av_graph import AVGraph, AVGraphConfig
from mm_fairseq.modules.graph import thinned

LIMIT = 0.012
BATCH = 8
NODES = {"audio": 20, "video": 10}
WIDTH, CLASSES, NEAREST = 512, 33, 3
KINDS = {"audio": ("audio", "hears", "audio"), "video": ("video", "hears", "video"), "cross": ("video", "to", "audio")}


class Original(nn.Module):
    """One clip after the other through HeteroConv, with the weights of `model`; BatchNorm sees one batch."""

    def __init__(self, model: AVGraph, cfg: AVGraphConfig) -> None:
        super().__init__()
        self.graph, self.cfg = model, cfg
        self.convolutions = nn.ModuleList(
            HeteroConv(
                {KINDS[kind]: layer.shared if layer.cross else layer.within[kind] for kind in NODES}
                | ({KINDS["cross"]: layer.between} if layer.cross else {}),
                aggr="sum",
            )
            for layer in model.layers
        )
        spans = {"audio": cfg.span_over_time_audio, "video": cfg.span_over_time_video}
        self.edges = {KINDS[kind]: _window(count, spans[kind]) for kind, count in NODES.items()}

    def forward(self, inputs: dict[str, Tensor], padding_masks: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        model, drop = self.graph, self.cfg.adjacency_dropout if self.training else 0.0
        x = {
            kind: [model.project[kind](self._norm(model.norms[kind], each)) for each in inputs[kind]] for kind in NODES
        }
        kept = [{kind: thinned(each, drop) for kind, each in self.edges.items()} for _ in range(BATCH)]
        for layer, convolution in zip(model.layers, self.convolutions, strict=True):
            new: dict[str, list[Tensor]] = {kind: [] for kind in NODES}
            for clip, edges in enumerate(kept):
                own = {kind: x[kind][clip] for kind in NODES}
                found = edges | ({KINDS["cross"]: thinned(_nearest(**own), drop)} if layer.cross else {})
                for kind, state in convolution(own, found).items():
                    new[kind].append(state)
            for kind, states in new.items():
                together = layer.dropout(F.silu(layer.norms[kind](torch.cat(states))))
                parts = together.split(NODES[kind])
                x[kind] = [old + part for old, part in zip(x[kind], parts, strict=True)]
        rows = []
        for clip in range(BATCH):
            read = []
            for kind in NODES:
                weights = model.readout[kind].score(x[kind][clip]).softmax(0)
                read.append((weights * x[kind][clip]).sum(0))
            rows.append(torch.cat(read))
        return {"logits": {"event": model.heads.out["to_event"](torch.stack(rows))}}

    @staticmethod
    def _norm(norm: nn.Module, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape, norm.weight.expand(x.shape), norm.bias.expand(x.shape), norm.eps)


def _window(count: int, span: int) -> Tensor:
    """Edges in time of one clip."""
    pairs = []
    for node in range(count):
        start = min(max(0, node - span), count - 2 * span - 1)
        pairs += [(other, node) for other in range(start, start + 2 * span + 1) if other != node]
    return torch.tensor(pairs).T


@torch.no_grad()
def _nearest(audio: Tensor, video: Tensor) -> Tensor:
    """Cross edges of one clip."""
    apart = 1 - F.normalize(video, dim=1) @ F.normalize(audio, dim=1).T
    target = apart.topk(NEAREST, largest=False).indices
    source = torch.arange(len(video))[:, None].expand_as(target)
    return torch.stack([source.flatten(), target.flatten()])


def model_of(cfg: AVGraphConfig) -> AVGraph:
    """Of cached features alone."""
    entry = {"name": "features", "args": {"dim": WIDTH}, "frozen": False, "sha256": {}}
    cfg.backbone_args = {kind: complete(entry) for kind in NODES}
    return AVGraph(cfg, {"event": CLASSES})


class Training:
    """Steps on one batch."""

    def __init__(self) -> None:
        self.inputs = {kind: torch.randn(BATCH, count, WIDTH) for kind, count in NODES.items()}
        self.masks = {kind: torch.zeros(BATCH, count, dtype=torch.bool) for kind, count in NODES.items()}
        self.target = torch.randint(CLASSES, (BATCH,))

    def logits(self, model: nn.Module) -> Tensor:
        return model(self.inputs, self.masks)["logits"]["event"]

    def cost(self, model: nn.Module, steps: int) -> tuple[float, float]:
        """CPU-seconds a sample, without clipping and with it, the medians over steps behind the first."""
        optimizer, seen = Adam(model.train().parameters(), 5e-4), []
        for _ in range(steps + 1):
            start = time.process_time()
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(self.logits(model), self.target).backward()
            clip = time.process_time()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            clip = time.process_time() - clip
            optimizer.step()
            whole = time.process_time() - start
            seen.append(((whole - clip) / BATCH, whole / BATCH))
        without, including = zip(*seen[1:], strict=True)
        return statistics.median(without), statistics.median(including)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=41, help="steps of which the median is taken (default: 41)")
    parser.add_argument("--threads", type=int, default=1, help="of the training (default: 1)")
    parser.add_argument("--quick", action="store_true", help="nine steps, three of the reference")
    given = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    cfg = AVGraphConfig()
    model, training = model_of(cfg), Training()
    original = Original(model, cfg)
    with torch.no_grad():
        difference = float((training.logits(model.eval()) - training.logits(original.eval())).abs().max())
    machine = [scale(3 if given.quick else 7)]
    torch.set_num_threads(given.threads)
    value, clipped = training.cost(model, 9 if given.quick else given.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    reference, _ = training.cost(original, 3 if given.quick else 15)
    torch.set_num_threads(2)
    machine.append(scale(3 if given.quick else 7))
    factor = statistics.mean(machine)
    result = {
        "name": "av_graph_cached",
        "value": round(value, 5),
        "unit": "CPU-seconds a sample",
        "with_clipping": round(clipped, 5),
        "reference": round(reference, 5),
        "ratio": round(value / reference, 4),
        "peak_rss_gb": round(peak, 2),
        "threads": given.threads,
        "scale": round(factor, 3),
        "limit": round(LIMIT * factor, 5),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "largest_difference": difference,
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
