"""Files of extracted features in the forms of MulT and MMSA: read, checked, padding taken off.

MulT (Tsai et al. 2019): `{split: {text, audio, vision, labels[, id]}}` with arrays [N, T, D]. MMSA (Yu et al. 2020):
`{split: {raw_text, id, text, audio, vision, regression_labels[, text_bert, audio_lengths, vision_lengths, ...]}}`.
Parquet: one row an utterance, the same names as columns and a column `split`; of a folder with train.parquet and so on
each file is a split. An array is a list of lists there, or a flat list beside a column `<name>_shape` with T and D.

N utterances, T frames, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError
from .base import SPLIT_NAMES, SPLITS
from .frames import missing, numbers, read_parquet, shown
from .pickles import Frame, read_pickle

NAMES = {"audio": "audio", "text": "text", "video": "vision"}  # modality: key in the files
LABELS = ("regression_labels", "labels", "label")


@dataclass
class Part:
    """One split of a file.

    Args:
        place: file and split, for messages.
        split: train, valid or test.
        fields: key to one value an utterance.
    """

    place: str
    split: str
    fields: dict[str, Sequence[Any]] = field(repr=False)

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    def array(self, key: str, row: int) -> np.ndarray:
        """An array of an utterance. Shape (T, D).

        Raises:
            MMFairseqError: it is none; names file, split, row and key.
        """
        value, place = self.fields[key][row], f"{self.place}: row {row}: {key!r}"
        try:
            x = numbers(value, depth=2)
            if f"{key}_shape" in self.fields:
                x = x.reshape([int(size) for size in self.fields[f"{key}_shape"][row]])
        except (ValueError, TypeError) as error:
            raise MMFairseqError(f"{place}: no array of numbers, or not of its shape ({error})") from None
        if x.dtype.kind not in "fiu" or x.ndim != 2 or not x.size:
            told = f"shape {x.shape}" if x.dtype.kind in "fiu" else "no numbers"
            raise MMFairseqError(f"{place}: {told}; expected numbers of shape (T, D)")
        return x


def read_parts(raw: Path) -> tuple[list[Part], list[str]]:
    """The splits of a pickle, a Parquet file or a folder of Parquet files, in the order train, valid, test.

    Returns:
        The splits, and the names of what else is there, which is left out.

    Raises:
        MMFairseqError: a file is none of these, or what belongs to one split differs in number.
    """
    others: list[str] = []
    if raw.is_dir():
        files = {path.stem: path for path in sorted(raw.glob("*.parquet"))}
        found: list[tuple[str, str, Any]] = [
            (f"{path}", name, read_parquet(path)) for name, path in files.items() if name in SPLIT_NAMES
        ]
        others = [path.name for name, path in files.items() if name not in SPLIT_NAMES]
        if not found:
            raise MMFairseqError(f"{raw}: no train.parquet, valid.parquet or test.parquet in this folder")
    elif raw.suffix == ".parquet":
        found = [(f"{raw}: split {name!r}", name, part) for name, part in _by_split(raw, read_parquet(raw)).items()]
    else:
        tree = read_pickle(raw)
        found = _of_pickle(raw, tree)
        others = [str(name) for name in tree if name not in SPLIT_NAMES] if isinstance(tree, dict) else []
    parts: dict[str, Part] = {}
    for place, name, columns in found:
        if SPLIT_NAMES[name] in parts:
            raise MMFairseqError(f"{place}: the same split as in {parts[SPLIT_NAMES[name]].place}")
        parts[SPLIT_NAMES[name]] = Part(place, SPLIT_NAMES[name], _checked(place, columns))
    return [parts[split] for split in SPLITS if split in parts], others


def _of_pickle(raw: Path, tree: Any) -> list[tuple[str, str, dict[str, Any]]]:
    if isinstance(tree, Frame):
        return [(f"{raw}: split {name!r}", name, part) for name, part in _by_split(raw, tree.columns).items()]
    splits = {name: part for name, part in tree.items() if name in SPLIT_NAMES} if isinstance(tree, dict) else {}
    if not splits or not all(isinstance(part, dict) for part in splits.values()):
        told = f"a dict of {', '.join(map(repr, list(tree)[:8]))}" if isinstance(tree, dict) else type(tree).__name__
        raise MMFairseqError(f"{raw}: holds {told}; expected a dict of the splits train, valid and test")
    return [(f"{raw}: split {name!r}", name, part) for name, part in splits.items()]


def _by_split(raw: Path, columns: dict[str, Sequence[Any]]) -> dict[str, dict[str, list[Any]]]:
    if "split" not in columns:
        raise MMFairseqError(f"{raw}: no column 'split'; it has {', '.join(map(repr, columns))}")
    names = list(columns["split"])
    strange = [row for row, name in enumerate(names) if not isinstance(name, str) or name not in SPLIT_NAMES]
    if strange:
        raise MMFairseqError(
            f"{raw}: row {strange[0]}: column 'split': {shown(names[strange[0]])!r} is none of {', '.join(SPLIT_NAMES)}"
        )
    chosen = {name: [number for number, each in enumerate(names) if each == name] for name in dict.fromkeys(names)}
    return {
        name: {key: [column[number] for number in rows] for key, column in columns.items() if key != "split"}
        for name, rows in chosen.items()
    }


def _checked(place: str, columns: dict[str, Any]) -> dict[str, Sequence[Any]]:
    """What has one value an utterance.

    Raises:
        MMFairseqError: two keys differ in number, or there are no features or no labels.
    """
    known = {*NAMES.values(), *LABELS, "id", "raw_text", "text_bert", "text_lengths", "audio_lengths", "vision_lengths"}
    known |= {f"{name}_shape" for name in NAMES.values()} | {f"regression_labels_{letter}" for letter in "TAV"}
    fields: dict[str, Sequence[Any]] = {}
    for key, column in columns.items():
        if key in known and (column.ndim if isinstance(column, np.ndarray) else isinstance(column, list | tuple)):
            fields[key] = column
    modalities = [key for key in NAMES.values() if key in fields]
    if not modalities:
        raise MMFairseqError(f"{place}: none of {', '.join(NAMES.values())}; it has {', '.join(map(repr, columns))}")
    if not any(key in fields for key in LABELS):
        raise MMFairseqError(f"{place}: none of {', '.join(LABELS)}; it has {', '.join(map(repr, columns))}")
    for key, column in fields.items():
        if len(column) != len(fields[modalities[0]]):
            sizes = {key: len(column), modalities[0]: len(fields[modalities[0]])}
            short = min(sizes, key=lambda name: sizes[name])
            raise MMFairseqError(
                f"{place}: {key!r} has {sizes[key]} rows, {modalities[0]!r} {sizes[modalities[0]]}; they must be of "
                f"the same utterances, and row {sizes[short]} has no {short!r}"
            )
    if not len(fields[modalities[0]]):
        raise MMFairseqError(f"{place}: no utterances")
    return fields


def lengths_of(part: Part, key: str, row: int, frames: int) -> int | None:
    """The number of real frames that the file tells of an utterance; None where it tells none.

    Raises:
        MMFairseqError: it is more than there are, or no number.
    """
    told = part.fields.get(f"{key}_lengths")
    if told is not None and not missing(told[row]):
        try:
            length = int(told[row])
        except (TypeError, ValueError):
            length = -1
        if not 0 <= length <= frames:
            raise MMFairseqError(
                f"{part.place}: row {row}: '{key}_lengths': {shown(told[row])} of an array of {frames} frames"
            )
        return max(1, length)
    if key == "text" and "text_bert" in part.fields:
        try:
            marks = numbers(part.fields["text_bert"][row], depth=2)  # token ids, mask, segment ids
        except ValueError as error:
            raise MMFairseqError(f"{part.place}: row {row}: 'text_bert': no numbers ({error})") from None
        if marks.ndim == 2 and marks.shape == (3, frames):
            return max(1, int((marks[1] > 0).sum()))
    return None


def kept_frames(arrays: dict[str, np.ndarray], front: bool) -> slice:
    """What is left of arrays of one length without the frames at one end that are zero in all of them; one at least.

    Args:
        arrays: (T, D) each.
        front: whether padding stands in front.
    """
    real = np.flatnonzero(np.any([x.any(1) for x in arrays.values()], axis=0))
    frames = len(next(iter(arrays.values())))
    if not len(real):
        return slice(frames - 1, frames) if front else slice(0, 1)
    return slice(int(real[0]), frames) if front else slice(0, int(real[-1]) + 1)


def padded_in_front(part: Part, key: str) -> bool:
    """Whether more arrays of a split begin with a frame of zeros than end with one."""
    first, last = 0, 0
    for row in range(len(part)):
        x = part.array(key, row)
        first, last = first + (not x[0].any()), last + (not x[-1].any())
    return first > last


def finite(x: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers that are not finite as 0, in float32, and how many there were."""
    with np.errstate(over="ignore"):
        out = np.array(x, np.float32)
    wrong = ~np.isfinite(out)
    out[wrong] = 0
    return out, int(wrong.sum())
