"""Toy features in the forms of MulT and MMSA: made-up numbers that tell the label, padded with zeros, as pickles.

- `mult_unaligned.pkl`, `mult_aligned.pkl`: `{split: {text, audio, vision, labels, id}}`, sentiment.
- `mult_iemocap.pkl`: the same with four yes-or-no emotions and no ids.
- `mmsa_unaligned.pkl`, `mmsa_aligned.pkl`: with transcripts, lengths, `text_bert` and sentiment of each modality.

Each of the three modalities shows one part of the sentiment in a direction of its own, at a random time, in noise; the
sum of the three is the label. Audio has numbers that are not finite, as COVAREP gives them.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError
from .folder import check_new

WIDTHS = {"text": 20, "audio": 9, "vision": 7}
FRAMES = {"text": 12, "audio": 30, "vision": 24}
SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}
FILES = {  # and what they are: form, aligned
    "mult_unaligned": ("mult", False),
    "mult_aligned": ("mult", True),
    "mmsa_unaligned": ("mmsa", False),
    "mmsa_aligned": ("mmsa", True),
    "mult_iemocap": ("iemocap", False),
}
MINIMUM = 30
EMOTIONS = 4
NOISE = 0.3

_WORDS = {
    -1: ("awful", "boring", "bad", "sad"),
    0: ("a", "the", "film", "scene"),
    1: ("great", "lovely", "good", "fun"),
}


def write(out: Path, utterances: int, seed: int, wanted: Collection[str] = tuple(FILES)) -> None:
    """Write the files; the same arguments give the same bytes.

    Args:
        out: a folder without any of them.
        utterances: how many in each file.
        seed: of everything drawn.
        wanted: which files.

    Raises:
        MMFairseqError: too few utterances, the folder is taken, or pandas is not installed.
    """
    if utterances < MINIMUM:
        raise MMFairseqError(f"--utterances {utterances}: at least {MINIMUM}")
    check_new(out, seed)
    try:
        import pandas
    except ImportError as error:
        raise MMFairseqError(f"pickles: pip install 'mm-fairseq[pandas]' ({error})") from error
    out.mkdir(parents=True, exist_ok=True)
    for number, (name, (form, aligned)) in enumerate(FILES.items()):
        if name in wanted:
            content = _content(form, utterances, aligned, np.random.default_rng([seed, number]))
            pandas.to_pickle(content, out / f"{name}.pkl", protocol=4)


def _content(form: str, utterances: int, aligned: bool, rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    directions = {key: rng.normal(size=(EMOTIONS, width)) for key, width in WIDTHS.items()}
    directions = {key: each / np.linalg.norm(each, axis=1, keepdims=True) for key, each in directions.items()}
    content = {}
    for split, share in SHARES.items():
        count = round(utterances * share)
        if form == "iemocap":
            labels = rng.integers(0, 2, (count, EMOTIONS))
            parts = {key: np.where(rng.random(labels.shape) < 0.7, 2 * labels - 1, 0) for key in WIDTHS}
        else:
            parts = {key: rng.uniform(-1, 1, (count, 1)) for key in WIDTHS}
            labels = np.sum(list(parts.values()), axis=0)
        content[split] = _split(form, split, labels, parts, directions, aligned, rng)
    return content


def _split(
    form: str,
    split: str,
    labels: np.ndarray,
    parts: dict[str, np.ndarray],
    directions: dict[str, np.ndarray],
    aligned: bool,
    rng: np.random.Generator,
) -> dict[str, Any]:
    count = len(labels)
    frames = dict.fromkeys(FRAMES, FRAMES["text"]) if aligned else FRAMES
    words = rng.integers(4, FRAMES["text"] + 1, count)
    lengths = {key: words if aligned else rng.integers(size // 3, size + 1, count) for key, size in frames.items()}
    lengths["text"] = words
    arrays = {}
    for key, size in frames.items():
        x = np.zeros((count, size, WIDTHS[key]), np.float32)
        for row in range(count):
            length = int(lengths[key][row])
            own = NOISE * rng.normal(size=(length, WIDTHS[key]))
            shown = parts[key][row] @ directions[key][: parts[key].shape[1]]
            own[rng.random(length) < 0.6] += 2 * shown
            own[int(rng.integers(length))] += 2 * shown
            # Aligned files of MulT are padded in front.
            x[row, size - length :] = own if aligned and form == "mult" else 0
            if not (aligned and form == "mult"):
                x[row, :length] = own
        arrays[key] = x
    for row in range(0, count, 7):
        arrays["audio"][row, -1 if aligned else 0, 0] = -np.inf
    if form == "iemocap":
        return arrays | {"labels": np.stack([1 - labels, labels], 2).astype(np.float32)}
    if form == "mult":
        ids = np.array([[f"{split}{row // 4}", f"{row % 4}.0", f"{row % 4 + 1}.0"] for row in range(count)])
        return arrays | {"labels": labels[:, :, None].astype(np.float32), "id": ids}
    mask = (np.arange(frames["text"]) < words[:, None]).astype(np.float32)
    tokens = rng.integers(5, 90, mask.shape) * mask
    told = {} if aligned else {f"{key}_lengths": lengths[key].tolist() for key in ("audio", "vision")}
    single = {f"regression_labels_{key[0].upper()}": 3 * parts[key][:, 0] for key in WIDTHS}
    return arrays | {
        "raw_text": [_sentence(part, rng) for part in parts["text"][:, 0]],
        "id": [f"{split}{row // 4}$_${row % 4}" for row in range(count)],
        "text_bert": np.stack([tokens, mask, 0 * mask], 1).astype(np.float32),
        "annotations": [("Negative", "Neutral", "Positive")[int(np.sign(value)) + 1] for value in labels[:, 0]],
        "regression_labels": labels[:, 0].astype(np.float32),
        "classification_labels": (np.sign(labels[:, 0]) + 1).astype(np.float32),
        **single,
        **told,
    }


def _sentence(part: float, rng: np.random.Generator) -> str:
    sign = int(np.sign(np.rint(part)))
    return " ".join([*rng.choice(_WORDS[0], 3), str(rng.choice(_WORDS[sign])), str(rng.choice(_WORDS[0]))])
