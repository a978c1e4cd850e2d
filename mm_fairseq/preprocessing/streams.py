"""Which streams a data-bin gets, and how each is stored."""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from ..errors import MMFairseqError
from ..manifest import MODALITIES, TEXT_ASR, Manifest
from ..media import MediaError
from ..media.child import reader
from ..media.features import feature_shapes
from ..media.video import has_audio
from .items import RAW, Form, Settings, feature_form

logger = logging.getLogger(__name__)


def choose_streams(manifest: Manifest, settings: Settings) -> dict[str, Form]:
    """The wanted modalities that at least one utterance has, as features where the corpus brings some.

    What was recognised comes along with transcripts, in the same symbols.

    Raises:
        MMFairseqError: nothing is there, or one utterance has a recording and another features of the same modality.
    """
    rows = manifest.utterances
    dims = _feature_dims(manifest, settings)
    silent = not any(row.audio for row in rows)
    films = dict.fromkeys(row.medium("video") for row in rows) if silent and "audio" not in dims else {}
    present = {
        "audio": not silent or _sounds([str(manifest.root / film.path) for film in films if film]),
        "text": any(row.text.strip() for row in rows),
        "video": any(row.video for row in rows),
    }
    wanted = [name for name in MODALITIES if name in settings.modalities and (name in dims or present[name])]
    streams = {name: feature_form(dims[name]) if name in dims else RAW[name] for name in wanted}
    if not streams:
        raise MMFairseqError(f"no utterance has {' or '.join(settings.modalities)}: nothing to binarize")
    if streams.get("text") == RAW["text"] and any(row.labels.get(TEXT_ASR, "").strip() for row in rows):
        streams[TEXT_ASR] = RAW[TEXT_ASR]
    return streams


def _sounds(films: Sequence[str]) -> bool:
    """Whether one of the files has a sound track."""
    read = reader({"has_audio": has_audio})
    try:
        for path in films:
            with suppress(MediaError):  # it breaks the decoder; the item will tell
                if read("has_audio", path):
                    return True
        return False
    finally:
        read.close()


def _feature_dims(manifest: Manifest, settings: Settings) -> dict[str, int]:
    """Modality to the usual number of features a frame; a file that cannot be read counts when its item is made."""
    shapes = []
    for row in manifest.utterances:
        try:
            shapes.append(feature_shapes(manifest.root / row.features) if row.features else {})
        except MediaError:
            shapes.append({})
    dims = {}
    for modality in (name for name in MODALITIES if name in settings.modalities):
        widths = Counter(shape[modality].dim for shape in shapes if modality in shape)
        if not widths:
            continue
        dims[modality] = widths.most_common(1)[0][0]
        recorded = [bool(getattr(row, modality)) and modality != "text" for row in manifest.utterances]
        for line, (row, shape) in enumerate(zip(manifest.utterances, shapes, strict=True), start=3):
            if recorded[line - 3] and modality not in shape and not row.features:
                first = next(row for row, shape in zip(manifest.utterances, shapes, strict=True) if modality in shape)
                raise MMFairseqError(
                    f"manifest.tsv:{line}: utterance {row.id!r} has {modality} in {getattr(row, modality)!r}, "
                    f"utterance {first.id!r} features of {modality} in {first.features!r}: a data-bin has either "
                    f"recordings or features of a modality; prepare them apart, or leave {modality} out of --modalities"
                )
        if both := sum(recorded):
            logger.warning("%s: features are taken, the recordings of %d utterances are not read", modality, both)
    return dims
