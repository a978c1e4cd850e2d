"""RAVDESS (Livingstone and Russo 2018, https://doi.org/10.1371/journal.pone.0196391), read from its release.

`Actor_12/03-01-06-01-02-01-12.wav`: modality (01 sound and picture, 02 picture, 03 sound), channel (01 speech, 02
song), emotion, intensity (01 normal, 02 strong), statement, repetition, actor. The folders of actors may lie in others,
as the archives of the release unpack. An utterance is all but the modality: its picture is that of 01, or of 02 where
there is no 01; its sound is 03, or that of 01.

24 actors, odd numbers male and even ones female; two statements, each said twice. 1,440 spoken utterances of eight
emotions, 60 an actor (neutral has one intensity), and 1,012 sung ones of six emotions, 44 an actor, none of actor 18.
Five folds by actor: all that one actor did is in one part.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..errors import MMFairseqError, named
from ..manifest import Manifest, Utterance
from ..targets import Target
from .base import CORPORA, Corpus, Fold, ParsedCorpus
from .draw import rotate
from .recordings import Faults, archive_hint, mp4_tracks

CLASSES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")  # 01 to 08
CHANNELS = {"speech": "01", "song": "02"}
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")
INTENSITIES = ("normal", "strong")
ACTORS = tuple(f"{number:02}" for number in range(1, 25))
ENDINGS = {"01": ".mp4", "02": ".mp4", "03": ".wav"}
SUNG = 6  # emotions that are sung: the first ones
FOLDS = 5
EACH = {"speech": 60, "song": 44}  # utterances of an actor
PUBLISHED = {
    "speech": {"clips": 1440, "actors": 24} | dict.fromkeys(CLASSES, 192) | {"neutral": 96},
    "song": {"clips": 1012, "actors": 23} | dict.fromkeys(CLASSES[:SUNG], 184) | {"neutral": 92},
}
FORM = "MODALITY-CHANNEL-EMOTION-INTENSITY-STATEMENT-REPETITION-ACTOR, 01-01-01-01-01-01-01 to 03-02-08-02-02-02-24"

_NAME = re.compile(r"(0[1-3])-(0[12]-0[1-8]-0[12]-0[12]-0[12]-(0[1-9]|1[0-9]|2[0-4]))", re.ASCII)

Files = dict[str, Path]


@CORPORA.register("ravdess")
class Ravdess(Corpus):
    """The parser; see the module for the files."""

    help = "RAVDESS: 24 actors, two sentences, eight emotions, spoken or sung; five folds by actor"
    raw = "the folder with Actor_01 to Actor_24"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--channel",
            choices=[*CHANNELS, "both"],
            default="speech",
            help="spoken, sung, or both (default: speech)",
        )
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help="go on without recordings that are missing, empty or git-lfs pointers",
        )
        parser.add_argument(
            "--accept-counts", action="store_true", help="go on where the counts differ from the published ones"
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        if not raw.is_dir():
            raise MMFairseqError(f"{raw}: no such folder; RAW must be {self.raw}{archive_hint(raw)}")
        everything = find_files(raw)
        if not everything:
            raise MMFairseqError(f"{raw}: no Actor_*/*.mp4 or Actor_*/*.wav; RAW must be {self.raw}{archive_hint(raw)}")
        channels = list(CHANNELS) if args.channel == "both" else [args.channel]
        clips = {name: files for name, files in everything.items() if _channel(name) in channels}
        if not clips:
            raise MMFairseqError(f"{raw}: nothing of --channel {args.channel} among {len(everything)} utterances")
        prepared = ParsedCorpus(Manifest(raw, ["emotion"], []), [], {}, published=_published(channels))
        if others := len(everything) - len(clips):
            prepared.excluded["other channel"] = others
        prepared.seen = _seen(clips, channels)
        used = _usable(raw, clips, args.accept_missing, prepared)
        for name, (audio, video) in used.items():
            if not (audio or video):
                prepared.excluded["no recording"] += 1
                continue
            _, emotion, intensity, statement, repetition, actor = name.split("-")
            labels = {"emotion": CLASSES[int(emotion) - 1], "sex": "male" if int(actor) % 2 else "female"}
            labels |= {"intensity": INTENSITIES[int(intensity) - 1], "statement": statement, "repetition": repetition}
            if args.channel == "both":
                labels["channel"] = _channel(name)
            text = STATEMENTS[int(statement) - 1]
            prepared.manifest.utterances.append(
                Utterance(id=name, speaker=actor, audio=audio, video=video, text=text, labels=labels)
            )
        rows = prepared.manifest.utterances
        prepared.manifest.extra = list(rows[0].labels) if rows else ["emotion"]
        classes = CLASSES[:SUNG] if args.channel == "song" else CLASSES
        prepared.targets = [Target("emotion", "single", classes)]
        prepared.protocols["by_actor"] = by_actor(rows)
        prepared.apart["by_actor"] = ("speakers",)
        return prepared


def find_files(raw: Path) -> dict[str, Files]:
    """{utterance: {modality: file}}, sorted.

    Raises:
        MMFairseqError: a file of an actor whose name is none, that lies with another actor, or that is there twice.
    """
    found: dict[str, Files] = {}
    for file in sorted(raw.rglob("Actor_*/*")):
        if file.name[0] == "." or file.suffix.lower() not in ENDINGS.values() or file.is_dir():
            continue
        match = _NAME.fullmatch(file.stem)
        if not match or file.suffix.lower() != ENDINGS[match[1]] or _impossible(match[2]):
            raise MMFairseqError(
                f"{file}: not the name of a recording: {FORM}; 01 and 02 are .mp4, 03 is .wav; neutral (01) is never "
                "strong (02), disgust and surprised (07, 08) are not sung (02)"
            )
        if file.parent.name != f"Actor_{match[3]}":
            raise MMFairseqError(f"{file}: of actor {match[3]} by its name; it belongs into Actor_{match[3]}")
        files = found.setdefault(match[2], {})
        if match[1] in files:
            raise MMFairseqError(f"{file}: the same recording as {files[match[1]]}; remove one of the two copies")
        files[match[1]] = file
    return dict(sorted(found.items()))


def by_actor(rows: Iterable[Utterance]) -> dict[str, Fold]:
    """Five folds that keep each actor whole: fold k tests on group k, validates on the next and trains on the others.

    The groups are dealt from a hash over all 24 actors, so they are the same for a part of the corpus.
    """
    return rotate(((row.speaker, row.id) for row in rows), ACTORS, FOLDS)


def _impossible(name: str) -> bool:
    channel, emotion, intensity = name.split("-")[:3]
    return (emotion == "01" and intensity == "02") or (channel == CHANNELS["song"] and int(emotion) > SUNG)


def _channel(name: str) -> str:
    return "speech" if name[:2] == CHANNELS["speech"] else "song"


def _published(channels: list[str]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for channel in channels:
        counts.update(PUBLISHED[channel])
        counts[f"actors with {EACH[channel]} of {channel}"] = PUBLISHED[channel]["actors"]
    return dict(counts) | {"actors": max(PUBLISHED[channel]["actors"] for channel in channels)}


def _seen(clips: Iterable[str], channels: list[str]) -> dict[str, int]:
    clips = list(clips)
    counts = Counter(CLASSES[int(name.split("-")[1]) - 1] for name in clips)
    out = {"clips": len(clips), "actors": len({name[-2:] for name in clips}), **counts}
    for channel in channels:
        sizes = Counter(name[-2:] for name in clips if _channel(name) == channel)
        out[f"actors with {EACH[channel]} of {channel}"] = sum(size == EACH[channel] for size in sizes.values())
    return out


def _usable(raw: Path, clips: dict[str, Files], accept: bool, prepared: ParsedCorpus) -> dict[str, tuple[str, str]]:
    """{utterance: paths of sound and picture, relative to `raw`}, "" for what is not there.

    Raises:
        MMFairseqError: some that others have are missing or hold nothing, and `accept` is False.
    """
    faults = Faults()
    whole: dict[str, Files] = {}
    for name, files in clips.items():
        whole[name] = {}
        for modality, file in files.items():
            if not faults.check(file):
                continue
            if modality != "03" and not _has(file, "video"):
                faults.add(file, "no picture in it: fetch it again")
            else:
                whole[name][modality] = file
    lacking: dict[str, list[str]] = {"sound": [], "picture": []}
    used: dict[str, tuple[str, str]] = {}
    for name, files in whole.items():
        both, picture = files.get("01"), files.get("01") or files.get("02")
        sound = files.get("03") or (both if both and _has(both, "audio") else None)
        audio, video = (file.relative_to(raw).as_posix() if file else "" for file in (sound, picture))
        used[name] = (audio, video)
        for what, path in (("sound", audio), ("picture", video)):
            if not path:
                lacking[what].append(name)
    for what, names in lacking.items():
        if len(names) == len(used) and not faults:
            prepared.notes.append(f"no {what}: no file of modality {'03 or 01' if what == 'sound' else '01 or 02'}")
        elif names:
            faults.say(f"{len(names)} of {len(used)} utterances have no {what}: {named(names)}")
    faults.settle(accept, prepared.notes)
    return used


def _has(file: Path, track: str) -> bool:
    """Whether an mp4 has a track, as far as can be told."""
    tracks = mp4_tracks(file)
    return tracks is None or track in tracks
