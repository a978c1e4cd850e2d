"""IEMOCAP (Busso et al. 2008, https://doi.org/10.1007/s10579-008-9076-6), read from `IEMOCAP_full_release`.

Four classes: neu, sad, ang, hap, where `exc` (excited) counts as `hap`. Six classes: neu, sad, ang, hap, exc, fru,
where `exc` stays a class of its own, as in DialogueRNN (https://arxiv.org/abs/1811.00405) and the work that follows it.
Utterances with any other label, and `xxx` (the raters did not agree), are left out and counted.

The votes are those of the evaluators, lines `C-E2:<tab>Neutral;<tab>()`; what the actors said of themselves (`C-F1`,
`C-M1`) does not count. Who names several emotions (`Neutral; Frustration;`) gives each an equal share of one vote;
votes for labels outside the classes are dropped.

Published counts: all 10,039 rated utterances are neu 1708, sad 1084, ang 1103, hap 595, exc 1041, fru 1849, sur 107,
fea 40, dis 2, oth 3, xxx 2507.
"""

import argparse
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import MMFairseqError
from ..manifest import Manifest, Utterance
from ..targets import Target
from .base import CORPORA, SPLITS, Corpus, Fold, ParsedCorpus, check_row, named, one_line, read_text
from .votes import shared, summed, votes_text

LABELS = ("neu", "sad", "ang", "hap", "exc", "fru", "sur", "fea", "dis", "oth", "xxx")
MAPS = {
    4: {"neu": "neu", "sad": "sad", "ang": "ang", "hap": "hap", "exc": "hap"},
    6: {label: label for label in ("neu", "sad", "ang", "hap", "exc", "fru")},
}
PUBLISHED = {
    4: {"all": 5531, "neu": 1708, "sad": 1084, "ang": 1103, "hap": 1636}
    | {"Session1": 1085, "Session2": 1023, "Session3": 1151, "Session4": 1031, "Session5": 1241},
    6: {"all": 7380, "neu": 1708, "sad": 1084, "ang": 1103, "hap": 595, "exc": 1041, "fru": 1849},
}
SESSIONS = (1, 2, 3, 4, 5)
NAMES = {
    "neutral": "neu",
    "neutral state": "neu",
    "happiness": "hap",
    "sadness": "sad",
    "anger": "ang",
    "surprise": "sur",
    "fear": "fea",
    "disgust": "dis",
    "frustration": "fru",
    "excited": "exc",
    "other": "oth",
}
STYLES = {"impro": "improvised", "script": "scripted"}

_RATED = re.compile(r"\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\s+(\S+)\s+(\S+)\s+\[.*\]\s*$")
_ID = re.compile(r"(Ses0([1-5])([FM])_\w+)_([FM])\d{3}$")
_RATER = re.compile(r"C-E\d*:\s*([^(]*)")
_STYLE = re.compile(r"Ses0[1-5][FM]_(impro|script)")
_SPOKEN = re.compile(r"(Ses0[1-5][FM]_\w+)\s*\[[^\]]*\]\s*:?(.*)$")


class Turn(NamedTuple):
    """One utterance of an EmoEvaluation file. Times in seconds; evaluators as (line, what they named)."""

    start: float
    end: float
    id: str
    label: str
    line: int
    evaluators: tuple[tuple[int, str], ...] = ()


def face_region(dialogue: str, speaker: str, swap: bool = False) -> str:
    """The media fragment of a speaker's face in the 720x480 picture of a dialogue.

    The letter behind `Ses01` names the actor who wears the markers. Where the speaker ("F" or "M") is that actor the
    face is in the left half, else in the right one; `swap` is for copies with the halves the other way about.
    """
    left = (dialogue[5] == speaker) != swap
    return f"#xywh={0 if left else 360},112,360,256"


@dataclass
class Aside:
    """What is left out or wanting, gathered over all sessions: labels, ids without a transcript, evaluators' lines."""

    labels: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


@CORPORA.register("iemocap")
class Iemocap(Corpus):
    """The parser; see the module for label maps and counts."""

    help = "IEMOCAP: five sessions, two actors each; leave one session out"
    raw = "IEMOCAP_full_release, the folder with Session1 to Session5"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--classes", type=int, choices=sorted(MAPS), default=4, help="4 (exc as hap) or 6 (with exc and fru)"
        )
        parser.add_argument(
            "--accept-counts", action="store_true", help="go on where the counts differ from the published ones"
        )
        parser.add_argument(
            "--swap-faces",
            action="store_true",
            help="the speaker with the markers sits in the right half of the picture",
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        nested = raw / "IEMOCAP_full_release"
        root = nested if nested.is_dir() and not (raw / "Session1").is_dir() else raw
        for session in SESSIONS:
            folder = root / f"Session{session}" / "dialog" / "EmoEvaluation"
            if not folder.is_dir():
                raise MMFairseqError(f"{folder}: no such folder; RAW must be {self.raw}")
        labels = MAPS[args.classes]
        prepared = ParsedCorpus(
            Manifest(root, ["emotion", "emotion_votes", "style"], []),
            [Target("emotion", "single", tuple(dict.fromkeys(labels.values())), votes="emotion_votes")],
            protocols={},
            published=PUBLISHED[args.classes],
        )
        aside = Aside()
        for session in SESSIONS:
            self._parse_session(session, labels, args.swap_faces, prepared, aside)
        rows = prepared.manifest.utterances
        prepared.excluded = {label: aside.labels[label] for label in LABELS if aside.labels[label]}
        prepared.details["evaluated"] = len(rows) + aside.labels.total()
        prepared.details["without_transcript"] = len(aside.silent)
        prepared.details["evaluators_not_understood"] = len(aside.unknown)
        if aside.silent:
            prepared.notes.append(f"{len(aside.silent)} utterances have no transcript: {named(aside.silent)}")
        if aside.unknown:
            prepared.notes.append(
                f"{len(aside.unknown)} evaluators named nothing, or what is no emotion of the corpus "
                f"({', '.join(name.capitalize() for name in NAMES)}), which did not count: {named(aside.unknown)}"
            )
        prepared.seen = {"all": len(rows)} | dict(Counter(row.labels["emotion"] for row in rows))
        prepared.seen |= dict(Counter(row.session for row in rows))
        prepared.protocols["leave_one_session_out"] = leave_one_session_out(rows)
        return prepared

    def _parse_session(
        self,
        session: int,
        labels: dict[str, str],
        swap: bool,
        prepared: ParsedCorpus,
        aside: Aside,
    ) -> None:
        root, base = prepared.manifest.root, f"Session{session}"
        has_audio = _has_folder(root / base / "sentences" / "wav", prepared, "audio")
        has_video = _has_folder(root / base / "dialog" / "avi" / "DivX", prepared, "video")
        lost: dict[str, list[str]] = {"audio": [], "video": []}
        for file in sorted((root / base / "dialog" / "EmoEvaluation").glob("Ses*.txt")):
            dialogue = file.stem
            turns = read_evaluation(file, session)
            texts = _transcripts(root / base / "dialog" / "transcriptions" / file.name, prepared)
            rated = {turn.id for turn in turns}
            unrated = [i for i in texts if i not in rated]
            _add(prepared, "transcripts_of_overlapping_speech", sum("XX" in i for i in unrated))
            if strange := [i for i in unrated if "XX" not in i]:
                _add(prepared, "transcripts_without_evaluation", len(strange))
                prepared.notes.append(f"{dialogue}: {len(strange)} transcripts have no evaluation: {named(strange)}")
            for order, turn in enumerate(turns):
                if turn.label not in labels:
                    aside.labels[turn.label] += 1
                    continue
                letter = turn.id[-4]
                votes, unknown = evaluators_votes(turn, labels)
                aside.unknown += [f"{file.relative_to(root).as_posix()}:{line}: {text!r}" for line, text in unknown]
                row = Utterance(
                    id=turn.id,
                    speaker=f"Ses0{session}{letter}",
                    session=base,
                    dialogue=dialogue,
                    turn=str(order),
                    start=turn.start,
                    end=turn.end,
                    audio=f"{base}/sentences/wav/{dialogue}/{turn.id}.wav#t=0" if has_audio else "",
                    video=f"{base}/dialog/avi/DivX/{dialogue}.avi{face_region(dialogue, letter, swap)}"
                    if has_video
                    else "",
                    text=texts.get(turn.id, ""),
                    labels={
                        "emotion": labels[turn.label],
                        "emotion_votes": votes_text(votes),
                        "style": style(dialogue),
                    },
                )
                check_row(row, root, file, turn.line)
                for modality, ids in lost.items():
                    medium = row.medium(modality)
                    if medium and not (root / medium.path).is_file():
                        ids.append(row.id)
                if not row.text:
                    aside.silent.append(row.id)
                prepared.manifest.utterances.append(row)
        for modality, ids in lost.items():
            if ids:
                prepared.notes.append(f"{base}: the {modality} file of {len(ids)} utterances is missing: {named(ids)}")


def read_evaluation(file: Path, session: int) -> list[Turn]:
    """The rated utterances of one dialogue in the order of time, with the evaluators' lines below each.

    Raises:
        MMFairseqError: a bracketed line that is no rated utterance of this dialogue, an unknown label, an id twice.
    """
    turns: dict[str, Turn] = {}
    name = ""
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if (rater := _RATER.match(line)) and name:
            turns[name] = turns[name]._replace(evaluators=(*turns[name].evaluators, (number, rater[1].strip())))
        if not line.startswith("["):
            continue
        match = _RATED.match(line)
        if not match:
            raise MMFairseqError(
                f"{file}:{number}: expected '[START - END] ID LABEL [VALENCE, ACTIVATION, DOMINANCE]', "
                f"not {line[:60]!r}"
            )
        start, end, name, label = match.groups()
        where = f"{file}:{number}: utterance {name!r}"
        parts = _ID.match(name)
        if not parts or parts[1] != file.stem or int(parts[2]) != session:
            raise MMFairseqError(
                f"{where}: an id of this file is {file.stem}_F000 or {file.stem}_M000, in Session{session}"
            )
        if label not in LABELS:
            raise MMFairseqError(f"{where}: label {label!r} is none of {', '.join(LABELS)}")
        if name in turns:
            raise MMFairseqError(f"{where}: the id stands already in line {turns[name].line}")
        try:
            turns[name] = Turn(float(start), float(end), name, label, number)
        except ValueError:
            raise MMFairseqError(f"{where}: [{start} - {end}] are not two times in seconds") from None
    return sorted(turns.values())


def evaluators_votes(turn: Turn, labels: dict[str, str]) -> tuple[dict[str, float], list[tuple[int, str]]]:
    """The evaluators' votes, {class: number}, and the lines with a name that is none of `NAMES`, or with none at all.

    Args:
        turn: the utterance.
        labels: {label: class}; other labels get no votes.
    """
    ballots, unknown = [], []
    for line, text in turn.evaluators:
        said = [name.strip().lower() for name in text.split(";") if name.strip()]
        if not said or not set(said) <= NAMES.keys():
            unknown.append((line, text))
        ballots.append(shared([labels.get(NAMES.get(name, ""), "") for name in said]))
    return summed(ballots, dict.fromkeys(labels.values())), unknown


def style(dialogue: str) -> str:
    """Whether the actors improvised or played a script: `Ses01F_impro01`, `Ses01F_script01_1`; "" for other names."""
    match = _STYLE.match(dialogue)
    return STYLES[match[1]] if match else ""


def leave_one_session_out(rows: list[Utterance]) -> dict[str, Fold]:
    """Fold k tests on session k, validates on the next one (after 5 comes 1) and trains on the other three.

    A whole session for validation, because both actors of a session are in all of its dialogues: any smaller part would
    share a speaker with training or test, and the checkpoint chosen on it would be chosen on known voices.
    """
    folds = {}
    for test in SESSIONS:
        splits = {f"Session{test}": "test", f"Session{test % len(SESSIONS) + 1}": "valid"}
        fold: Fold = {split: [] for split in SPLITS}
        for row in rows:
            fold[splits.get(row.session, "train")].append(row.id)
        folds[str(test)] = fold
    return folds


def _transcripts(file: Path, prepared: ParsedCorpus) -> dict[str, str]:
    """{id: transcript} of one dialogue. Lines without an id (`M: Yeah.`) are nobody's utterance and only counted."""
    if not file.is_file():
        prepared.notes.append(f"{file.relative_to(prepared.manifest.root)}: no such transcription")
        return {}
    texts: dict[str, str] = {}
    for line in filter(str.strip, read_text(file).splitlines()):
        match = _SPOKEN.match(line.strip())
        if match:
            texts.setdefault(match[1], one_line(match[2]))
        else:
            _add(prepared, "transcript_lines_without_id", 1)
    return texts


def _has_folder(folder: Path, prepared: ParsedCorpus, modality: str) -> bool:
    found = folder.is_dir()
    if not found:
        prepared.notes.append(
            f"no {modality} in {folder.relative_to(prepared.manifest.root).as_posix()}: the folder is missing"
        )
    return found


def _add(prepared: ParsedCorpus, name: str, count: int) -> None:
    if count:
        prepared.details[name] = prepared.details.get(name, 0) + count
