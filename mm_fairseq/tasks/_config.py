"""Options of the task."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from ._augment import AugmentOptions


@dataclass
class EmotionPredictionConfig(AugmentOptions):
    """Options of the task; the names of the original trimodal system where it has them."""

    data: str = field(default=MISSING, metadata={"help": "data-bin folder, written by `mm-fairseq binarize`"})
    modalities: str = field(
        default="",
        metadata={
            "help": "comma list out of audio, text, video; default: all that the data-bin has; "
            "in fairseq-validate: the others are withheld from the model"
        },
    )
    a_only: bool = field(default=False, metadata={"help": "use audio; with --t-only or --v-only: these together"})
    t_only: bool = field(default=False, metadata={"help": "use text; with --a-only or --v-only: these together"})
    v_only: bool = field(default=False, metadata={"help": "use video; with --a-only or --t-only: these together"})
    all_in: bool = field(default=False, metadata={"help": "use audio, text and video"})
    targets: str = field(default="", metadata={"help": "comma list of what is predicted; default: all of the data-bin"})
    heads: str = field(
        default="",
        metadata={
            "help": "what is predicted, with the parts of the loss: TARGET=W,..., of which the mean weighted by W is "
            "taken, or TARGET,...: the plain mean; without this option the losses are added up"
        },
    )
    soft_labels: bool = field(
        default=False,
        metadata={
            "help": "learn from the annotators' votes where a target has them; the metrics of train then count what "
            "most of them chose, those of valid and test the label"
        },
    )
    modality_dropout: float = field(
        default=0.0,
        metadata={
            "help": "in training, withhold each modality of an utterance with this probability, never all of them: "
            "one model then serves any subset"
        },
    )
    protocol: str = field(
        default="", metadata={"help": "evaluation protocol; default: the first that the corpus defines"}
    )
    fold: str = field(default="", metadata={"help": "fold of the protocol; default: the first"})
    num_classes: int = field(
        default=0, metadata={"help": "outputs of the head, as a check; two for each class with --binary-target-iemocap"}
    )
    binary_target_iemocap: bool = field(
        default=False, metadata={"help": "predict each class by a yes-no decision of its own (target kind binary_each)"}
    )
    softmax_target_meld: bool = field(
        default=False, metadata={"help": "predict one class out of all (target kind single)"}
    )
    regression_target_mos: bool = field(default=False, metadata={"help": "predict a number (target kind regression)"})
    max_sample_size: int = field(
        default=0, metadata={"help": "cut audio at this many samples; 0: at the model's own limit"}
    )
    init_token: int = field(
        default=-1, metadata={"help": "token id in front of a text; default: <s> of the dictionary"}
    )
    separator_token: int = field(
        default=-1, metadata={"help": "token id behind a text; default: </s> of the dictionary"}
    )
    backbone_source: str = field(
        default="auto",
        metadata={
            "help": "of backbones that do not learn. raw: encode in every step; cached: read features from "
            "`mm-fairseq extract`; auto: cached where they are there and fit"
        },
    )
    allow_unsafe_checkpoints: bool = field(
        default=False,
        metadata={"help": "load pretrained files that hold more than plain types: they may run any code"},
    )
    skip_nonfinite: int = field(
        default=0,
        metadata={
            "help": "leave out at most this many updates whose loss or gradient is not a finite number; their "
            "utterances are named in non_finite.jsonl in --save-dir. Default 0: the first one ends the training. With "
            "--fp16, and for gradients with --amp, the scale of the loss decides instead"
        },
    )
    eval_matric: bool = field(
        default=False, metadata={"help": "accepted for the original's command lines: metrics are always computed"}
    )
    data_raw: str = field(
        default="", metadata={"help": "accepted for the original's command lines: the data-bin holds the raw data"}
    )
