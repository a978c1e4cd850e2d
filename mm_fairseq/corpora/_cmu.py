"""What CMU-MOSI and CMU-MOSEI have in common: options, forms, labels.

Of the raw release each corpus has transcripts of segments, recordings of whole videos or of segments, and labels as a
computational sequence (see `csd`) in its own way. `_cmu_mmsa` tells of the other two forms.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import MMFairseqError, named
from ..manifest import MODALITIES, Manifest
from ..targets import Target
from ._cmu_clips import Clip, compare, finish
from ._cmu_mmsa import of_features, of_mmsa
from .base import ParsedCorpus
from .recordings import archive_hint

ReadRaw = Callable[[Path, argparse.Namespace, ParsedCorpus], tuple[list[Clip], list[Target]]]


def add_arguments(parser: argparse.ArgumentParser, labels: str) -> None:
    """The options of both corpora; `labels` is the name of the label file."""
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help=f"raw form: the labels, relative to RAW (default: {labels}, in RAW or in labels/ or Labels/ of it)",
    )
    parser.add_argument(
        "--single-labels",
        action="store_true",
        help="MMSA and feature files: the sentiment of text, audio and video alone as further targets (label_T, ...)",
    )
    parser.add_argument(
        "--modalities",
        default=",".join(MODALITIES),
        metavar="LIST",
        help="which to take (default: %(default)s); of feature files without text, transcripts are to be tokenized",
    )
    parser.add_argument(
        "--number-ids", action="store_true", help="feature files: name utterances by split and number, for ids twice"
    )
    parser.add_argument(
        "--accept-missing",
        action="store_true",
        help="raw form and MMSA: go on with what there is of clips whose recording is missing, empty, cut off or a "
        "git-lfs pointer, and without labels that have no sentence",
    )
    parser.add_argument(
        "--accept-counts", action="store_true", help="go on where the splits have not the published sizes"
    )


def parse(
    raw: Path, args: argparse.Namespace, transcripts: str, own: Sequence[str], sizes: Sequence[int], read_raw: ReadRaw
) -> ParsedCorpus:
    """The corpus in any of the three forms.

    Args:
        raw: what the user gave.
        args: the options.
        transcripts: where the raw form has them.
        own: names of the options of the raw form alone.
        sizes: published ones, of train, valid and test.
        read_raw: from `raw`, `args` and a corpus that notes what was left out, and whose manifest has the root, to the
            clips of the raw form and their targets.

    Raises:
        MMFairseqError: as `form_of`, the form's reader, or `finish`.
    """
    form, found = form_of(raw, transcripts, args, own)
    if form == "features":
        prepared = of_features(found, args)
        compare(prepared, sizes)
        return prepared
    prepared = ParsedCorpus(Manifest(found, [], []), [], {})
    clips, targets = of_mmsa(found, args.single_labels) if form == "mmsa" else read_raw(raw, args, prepared)
    return finish(clips, targets, sizes, args, prepared)


def form_of(raw: Path, transcripts: str, args: argparse.Namespace, own: Sequence[str]) -> tuple[str, Path]:
    """("raw", "mmsa" or "features", the folder or file to read).

    Args:
        raw: what the user gave.
        transcripts: where the raw form has them.
        args: the options; one that the form does not know is an error.
        own: names of the options of the raw form alone.

    Raises:
        MMFairseqError: `raw` has none of the forms.
    """
    if raw.is_file() and (hint := archive_hint(raw)):
        raise MMFairseqError(f"{raw}{hint}")
    base = next((folder for folder in (raw, raw / "Raw") if (folder / transcripts).is_dir()), None)
    if raw.is_file() or (raw.is_dir() and any(raw.glob("*.parquet"))):
        form, found = "features", raw
    elif (raw / "label.csv").is_file():
        form, found = "mmsa", raw
    elif base:
        form, found = "raw", base
    else:
        raise MMFairseqError(
            f"{raw}: neither the raw release ({transcripts}) nor the form of MMSA (label.csv and Raw/) nor a feature "
            f"file{archive_hint(raw)}"
        )
    known = {"raw": {"labels", "accept_missing", *own}, "mmsa": {"single_labels", "accept_missing"}}
    known["features"] = {"single_labels", "number_ids"}
    for name in sorted(set().union(*known.values()) - known[form]):
        if getattr(args, name) not in (None, False):
            forms = " and ".join(each for each in known if name in known[each])
            raise MMFairseqError(f"--{name.replace('_', '-')}: is for {forms}; {raw} has the form {form}")
    return form, found


def find_labels(base: Path, raw: Path, asked: Path | None, name: str) -> Path:
    """The label file of the raw form.

    Raises:
        MMFairseqError: it is not there.
    """
    if asked:
        if not (raw / asked).is_file():
            raise MMFairseqError(f"--labels {asked}: {raw / asked}: no such file")
        return raw / asked
    places = [folder / each / name for folder in (raw, base) for each in ("", "labels", "Labels")]
    found = next((place for place in places if place.is_file()), None)
    if not found:
        raise MMFairseqError(
            f"{raw}: no {name}, the labels as the CMU-MultimodalSDK releases them; put it there or name it: "
            "--labels FILE (the csv files of single raters are not read)"
        )
    return found


def tell_lost(file: Path, lost: Sequence[str], accept: bool, prepared: ParsedCorpus) -> None:
    """Raises MMFairseqError for labels that have no sentence, unless `accept`; counts them."""
    if not lost:
        return
    told = f"{file}: {len(lost)} labels have no sentence among the transcripts: {named(list(lost))}"
    if not accept:
        raise MMFairseqError(f"{told}; are all transcripts there? --accept-missing goes on without them")
    prepared.excluded["no sentence"] = len(lost)
    prepared.notes.append(f"accepted: {told}")
