"""Segments of audio and video as nodes of one heterogeneous graph.

The end-to-end heterogeneous graph for acoustic events, after Shirian et al. 2022, "Visually-aware Acoustic Event
Detection using Heterogeneous Graphs" (Interspeech, arXiv 2207.07935), and Shirian et al. 2023, "Heterogeneous Graph
Learning for Acoustic Event Classification" (ICASSP, arXiv 2303.02665): audio nodes from the convolutions of wav2vec
2.0, video nodes from R3D-18, edges in time within a modality and from video to audio, attention over a clip's nodes.

Options are those of the original's configuration, in lower case with dashes, with its values. Two that are true there
have a flag that turns them off: NORMALIZE (--no-normalize) and RESIDUAL (--no-residual). Elsewhere: OPTIM --optimizer,
BASE_LR --lr, SAME_LR --backbone-lr, LR_SCHEDULER_NAME --lr-scheduler with its own options, WARMUP_ITERS
--warmup-updates, MAX_ITER --max-update, ITERS_TO_ACCUMULATE --update-freq, CLIP_VALUE --clip-norm, L2_REGULARIZATION
--weight-decay, BATCH_SIZE --batch-size, EVAL_PERIOD --validate-interval-updates, MAX_PATIENCE --patience, FINETUNE
--finetune-backbones, AMP --fp16; LOSS, LABEL_SMOOTHING and CLASS_WEIGHTS are options of the criterion, and
NON_LINEAR_ACTIVATION is settled by the kind of a target.

Deviations from the original code, whose defects are numbered:
1. its BatchNorms stood in a plain list: not trained, not saved, never in evaluation; here they are modules;
2. its layers without fusion added the audio's messages twice; here each kind of edge counts once;
3. its static cross edges had no effect, being replaced in the only layers that read them; here --cross-edges chooses
   between static ones and those to the nearest nodes;
4. it added one more hook to R3D-18 at each call; here the network ends where its features are;
5. its accumulation of gradients stepped each time and did not divide; fairseq's does what --update-freq says;
6. it padded clips to 10 s unseen, its split was not stratified, its graph was drawn anew at each start; here clips of
   any length have the nodes that they fill, splits are the corpus's, and evaluation draws nothing;
- a fusion layer adds one kind of edge to the others; with one modality alone there is none;
- --dynamic draws for each clip of each batch, not once a data set;
- the first LayerNorm has a gain for each channel, not for each node and channel, so that clips differ in length;
- ties of nearest nodes go to the earlier one, so that silence gives the same graph in any batch;
- segments follow each other so that as many as asked for just fill --clip-seconds;
- attention over nodes begins as their mean.
"""

import logging
import re
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.models import register_model
from torch import Tensor, nn

from ..backbones import SAMPLE_RATE, FeatureSeq, Spec
from ..errors import MMFairseqError
from ..modules import dense_graph
from ..modules.graph import adjacency, drawn, nearest_edges, padded, static_edges, temporal_edges, thinned, unpadded
from ..modules.heads import Heads
from ..modules.hetero import CROSS, ClipNorm, HeteroLayer, convolutions
from ..modules.pooling import Pooling
from ._base import Attends, BackboneOptions, FusionModel
from ._checks import check_choice, check_least, check_modalities, check_probabilities, check_unused

logger = logging.getLogger(__name__)

MODALITIES = ("audio", "video")
SEGMENTED = {"audio": "wav2vec2_segments", "video": "r3d_18"}
DISTANCES = ("cosine", "euclidean")
CROSS_EDGES = ("nearest", "static")
CROSS_OPTIONS = ("cross_edges", "distance", "cross_neighbours", "span_over_time_between")
SHORTEST = 25  # milliseconds of an audio segment, what one frame of wav2vec 2.0 sees


@dataclass
class AVGraphConfig(BackboneOptions):
    """The original's configuration."""

    audio_backbone: str = field(
        default="wav2vec2_segments",
        metadata={"help": "audio encoder: NAME[:FILE[,key=value,...]], as wav2vec2_segments:FILE; a node a frame"},
    )
    video_backbone: str = field(
        default="r3d_18",
        metadata={"help": "video encoder: NAME[:FILE[,key=value,...]], as r3d_18:FILE; a node a frame"},
    )
    num_audio_nodes: int = field(default=20, metadata={"help": "audio segments of a clip of --clip-seconds"})
    audio_segment_length: int = field(default=480, metadata={"help": "milliseconds of an audio segment"})
    num_video_nodes: int = field(default=10, metadata={"help": "video segments of a clip of --clip-seconds"})
    video_segment_length: int = field(default=1000, metadata={"help": "milliseconds of a video segment"})
    clip_seconds: float = field(
        default=10.0, metadata={"help": "the length of a clip that has as many segments; others have as many as fit"}
    )
    max_audio_nodes: int = field(default=120, metadata={"help": "audio beyond this many segments is cut off"})
    max_video_nodes: int = field(default=60, metadata={"help": "video beyond this many segments is cut off"})
    hidden_channels: int = field(default=512, metadata={"help": "width of the nodes' states"})
    num_layers: int = field(default=4, metadata={"help": "graph layers"})
    fusion_layers: str = field(
        default="[-1]",
        metadata={"help": "comma list of layers with messages from video to audio, from 0, negative from the end; []"},
    )
    cross_edges: str = field(
        default="nearest",
        metadata={"help": "from video to audio: nearest (found anew before each fusion layer) or static (by time)"},
    )
    distance: str = field(default="cosine", metadata={"help": "of nearest cross edges: cosine or euclidean"})
    cross_neighbours: int = field(
        default=3, metadata={"help": "audio nodes that a video node is linked to by nearest cross edges"}
    )
    span_over_time_between: int = field(
        default=2, metadata={"help": "audio nodes that a video node is linked to by static cross edges"}
    )
    span_over_time_audio: int = field(
        default=2, metadata={"help": "audio nodes that each audio node hears before it, and as many behind it"}
    )
    audio_dilation: int = field(default=1, metadata={"help": "steps from one of these to the next"})
    span_over_time_video: int = field(
        default=1, metadata={"help": "video nodes that each video node hears before it, and as many behind it"}
    )
    video_dilation: int = field(default=1, metadata={"help": "steps from one of these to the next"})
    dynamic: bool = field(
        default=False, metadata={"help": "in training draw spans and dilations of each clip, from 1 to those given"}
    )
    self_loops: bool = field(default=False, metadata={"help": "each node hears itself, too"})
    no_normalize: bool = field(
        default=False, metadata={"help": "no LayerNorm over the features of a clip in front of the graph"}
    )
    no_residual: bool = field(default=False, metadata={"help": "graph layers do not add what comes in"})
    adjacency_dropout: float = field(default=0.2, metadata={"help": "share of edges dropped in training"})
    graph_dropout: float = field(default=0.2, metadata={"help": "dropout of the nodes' states"})


@register_model("av_graph", dataclass=AVGraphConfig)
class AVGraph(FusionModel):
    """The model, for audio and video or either alone; see the module.

    Args:
        cfg: sizes; `cfg.backbone_args` says what the backbones are built from.
        outputs: target name to number of outputs.

    Raises:
        MMFairseqError: a size is not possible, there is text, or torch_geometric is not installed.
    """

    attends = (
        Attends(r"readout\.([a-z]+)", "", r"\1"),
        Attends(r"layers\.\d+\.between", "audio", "video"),
    )

    def __init__(self, cfg: AVGraphConfig, outputs: dict[str, int]) -> None:
        fusing = _check(cfg)
        convolutions()
        super().__init__(cfg, {"audio": cfg.max_audio_nodes, "video": cfg.max_video_nodes})
        dim, dims = cfg.hidden_channels, self.backbones.dims
        kinds = sorted(dims)
        self.spans = {
            "audio": (cfg.span_over_time_audio, cfg.audio_dilation),
            "video": (cfg.span_over_time_video, cfg.video_dilation),
        }
        self.static_span = cfg.span_over_time_between if cfg.cross_edges == "static" else 0
        self.nearest = (cfg.cross_neighbours, cfg.distance)
        self.dynamic, self.self_loops, self.edge_dropout = cfg.dynamic, cfg.self_loops, cfg.adjacency_dropout
        self.cross = ("video", "audio") if len(kinds) == len(MODALITIES) else None
        if not fusing:
            check_unused(cfg, AVGraphConfig, CROSS_OPTIONS, "there is no fusion layer")
        elif not self.cross:
            logger.info("%s alone: there are no edges between modalities", kinds[0])
        self.norms = nn.ModuleDict({} if cfg.no_normalize else {kind: ClipNorm(dims[kind]) for kind in kinds})
        self.project = nn.ModuleDict({kind: nn.Linear(dims[kind], dim) for kind in kinds})
        self.layers = nn.ModuleList(
            HeteroLayer(kinds, dim, self.cross if number in fusing else None, cfg.graph_dropout, not cfg.no_residual)
            for number in range(cfg.num_layers)
        )
        self.readout = nn.ModuleDict({kind: Pooling("attentive", dim) for kind in kinds})
        self.heads = Heads(dim * len(kinds), outputs, 0.0, hidden=False)

    @classmethod
    def backbone_defaults(cls, cfg: Any, fps: float | None = None) -> dict[str, dict[str, Any]]:
        rates = {"audio": float(SAMPLE_RATE), "video": fps}
        found = {}
        for name, rate in rates.items():
            spec = Spec.parse(name, str(getattr(cfg, f"{name}_backbone")))
            reason = "" if spec.name == SEGMENTED[name] else f"is {spec.name}"
            if given := [key for key in ("window", "hop") if key in spec.options]:
                reason = f"says {' and '.join(given)}"
            if reason:
                options = (f"num_{name}_nodes", f"{name}_segment_length")
                check_unused(cfg, AVGraphConfig, options, f"--{name}-backbone {reason}")
            elif rate:
                found[name] = _windows(cfg, name, rate)
        if not found:
            check_unused(cfg, AVGraphConfig, ("clip_seconds",), "the backbones decide what the segments are")
        return found

    def fuse(self, features: dict[str, FeatureSeq]) -> Tensor:
        masks = {name: each.padding_mask for name, each in features.items()}
        if torch.compiler.is_exporting():
            return self._fuse_dense(features, masks)
        counts = {name: (~mask).sum(1) for name, mask in masks.items()}
        x, edges = {}, {}
        for name, each in features.items():
            normal = self.norms[name](*each) if name in self.norms else each.x
            x[name] = self.project[name](unpadded(normal, masks[name]))  # n x D
            edges[name] = adjacency(self._within(name, counts[name]), len(x[name]), x[name].dtype)
        for layer in self.layers:
            if layer.cross:
                edges[CROSS] = self._between(x, masks, counts)
            x = layer(x, edges)
        return torch.cat([self.readout[name](padded(x[name], masks[name]), masks[name]) for name in sorted(x)], 1)

    def _fuse_dense(self, features: dict[str, FeatureSeq], masks: dict[str, Tensor]) -> Tensor:
        """The same in evaluation, without lists of edges, whose length depends on values."""
        x, seen = {}, {}
        for name, each in features.items():
            x[name] = self.project[name](self.norms[name](*each) if name in self.norms else each.x)
            seen[name] = dense_graph.temporal(masks[name], *self.spans[name], self.self_loops)
        for layer in self.layers:
            if layer.cross and self.static_span:
                seen[CROSS] = dense_graph.static(masks["video"], masks["audio"], self.static_span)
            elif layer.cross:
                states = (x["video"], x["audio"], masks["video"], masks["audio"])
                seen[CROSS] = dense_graph.nearest(*states, *self.nearest)
            x = dense_graph.run_layer(layer, x, seen)
        return torch.cat([self.readout[name](x[name], masks[name]) for name in sorted(x)], 1)

    def _within(self, name: str, counts: Tensor) -> Tensor:
        """Edges within a modality."""
        span, dilation = (drawn(most, counts, self.dynamic and self.training) for most in self.spans[name])
        return self._thinned(temporal_edges(counts, span, dilation, self.self_loops))

    def _between(self, x: dict[str, Tensor], masks: dict[str, Tensor], counts: dict[str, Tensor]) -> Tensor:
        """Edges from video to audio."""
        if self.static_span:
            span = drawn(self.static_span, counts["video"], self.dynamic and self.training)
            return self._thinned(static_edges(counts["video"], counts["audio"], span, self.training))
        return self._thinned(nearest_edges(x["video"], x["audio"], masks["video"], masks["audio"], *self.nearest))

    def _thinned(self, edges: Tensor) -> Tensor:
        return thinned(edges, self.edge_dropout if self.training else 0.0)


def _windows(cfg: Any, name: str, rate: float) -> dict[str, int]:
    """Window and hop, in samples or frames, of segments that just fill a clip."""
    nodes, length = getattr(cfg, f"num_{name}_nodes"), getattr(cfg, f"{name}_segment_length")
    shortest = SHORTEST if name == "audio" else 1
    if nodes < 1 or length < shortest or cfg.clip_seconds <= 0:
        raise MMFairseqError(
            f"--num-{name}-nodes {nodes}, --{name}-segment-length {length}, --clip-seconds {cfg.clip_seconds}: "
            f"all above 0, and a segment at least {shortest} ms"
        )
    window, clip = max(1, round(length * rate / 1000)), round(cfg.clip_seconds * rate)
    if nodes == 1:
        return {"window": window, "hop": window}
    if clip - window < nodes - 1:
        raise MMFairseqError(
            f"--num-{name}-nodes {nodes} of --{name}-segment-length {length} ms do not fit into "
            f"--clip-seconds {cfg.clip_seconds}"
        )
    return {"window": window, "hop": -(-(clip - window) // (nodes - 1))}


def fusion_layers(text: str, layers: int) -> set[int]:
    """The numbers of the fusion layers, from 0.

    Raises:
        MMFairseqError: no list of numbers, or there is no such layer.
    """
    found = re.fullmatch(r"(\[?)\s*((?:-?\d+\s*(?:,\s*-?\d+\s*)*)?)(\]?)", text.strip(), re.ASCII)
    if not found or bool(found[1]) != bool(found[3]):
        raise MMFairseqError(f"--fusion-layers {text!r}: a comma list of layers, as -1 or 1,3, or []")
    numbers = [int(part) for part in found[2].split(",") if part.strip()]
    if far := [number for number in numbers if not -layers <= number < layers]:
        raise MMFairseqError(f"--fusion-layers {text!r}: no layer {far[0]}; allowed: {-layers} to {layers - 1}")
    return {number % layers for number in numbers}


def _check(cfg: AVGraphConfig) -> set[int]:
    """The fusion layers, once all options are known to be possible."""
    check_modalities(cfg, "av_graph", MODALITIES)
    check_least(
        cfg,
        1,
        *("hidden_channels", "num_layers", "max_audio_nodes", "max_video_nodes", "cross_neighbours"),
        *("span_over_time_between", "span_over_time_audio", "span_over_time_video", "audio_dilation", "video_dilation"),
    )
    check_probabilities(cfg, "adjacency_dropout", "graph_dropout")
    check_choice(cfg, "distance", DISTANCES)
    check_choice(cfg, "cross_edges", CROSS_EDGES)
    idle = ("distance", "cross_neighbours") if cfg.cross_edges == "static" else ("span_over_time_between",)
    check_unused(cfg, AVGraphConfig, idle, f"--cross-edges is {cfg.cross_edges}")
    return fusion_layers(cfg.fusion_layers, cfg.num_layers)
