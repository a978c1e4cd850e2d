"""IEMOCAP (Busso et al. 2008, https://doi.org/10.1007/s10579-008-9076-6), read from `IEMOCAP_full_release`.

Classes by their number; utterances with any other label, and `xxx` (no agreement), are left out and counted:

- 4: neu, sad, ang, hap, where `exc` (excited) counts as `hap`;
- 5: the same and fru (frustrated);
- 6: neu, sad, ang, hap, exc, fru, where `exc` stays a class of its own, as in DialogueRNN
  (https://arxiv.org/abs/1811.00405) and the work that follows it;
- 9: all that the raters agreed on but `oth`: the six and sur, fea, dis.

The votes are those of the evaluators, lines `C-E2:<tab>Neutral;<tab>()`; what the actors said of themselves (`C-F1`,
`C-M1`) does not count. Who names several emotions (`Neutral; Frustration;`) gives each an equal share of one vote;
votes for labels outside the classes are dropped.

`--vad` adds valence, activation (elsewhere called arousal) and dominance as numbers, on a scale of 1 to 5: the means
over the evaluators that the corpus itself gives behind the label. Every rated utterance has them, so all are kept:
those outside the classes without an emotion, and without votes, which would be for what was not agreed on.

Published counts: all 10,039 rated utterances are neu 1708, sad 1084, ang 1103, hap 595, exc 1041, fru 1849, sur 107,
fea 40, dis 2, oth 3, xxx 2507.
"""

import argparse
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import MMFairseqError, named
from ..manifest import Manifest, Utterance
from ..targets import Target
from ._emo_evaluation import DIMENSIONS, LABELS, NAMES, Turn, dimensions, evaluators_votes, read_evaluation
from .base import CORPORA, SPLITS, Corpus, Fold, ParsedCorpus, check_row, one_line, read_text
from .recordings import Faults, archive_hint
from .votes import votes_text

FOUR = {"neu": "neu", "sad": "sad", "ang": "ang", "hap": "hap", "exc": "hap"}
SIX = {label: label for label in ("neu", "sad", "ang", "hap", "exc", "fru")}
MAPS = {4: FOUR, 5: FOUR | {"fru": "fru"}, 6: SIX, 9: SIX | {label: label for label in ("sur", "fea", "dis")}}
RATED = 10039
_EACH = {"neu": 1708, "sad": 1084, "ang": 1103, "hap": 595, "exc": 1041, "fru": 1849, "sur": 107, "fea": 40, "dis": 2}
PUBLISHED = {
    4: {"all": 5531, "neu": 1708, "sad": 1084, "ang": 1103, "hap": 1636}
    | {"Session1": 1085, "Session2": 1023, "Session3": 1151, "Session4": 1031, "Session5": 1241},
    5: {"all": 7380, "neu": 1708, "sad": 1084, "ang": 1103, "hap": 1636, "fru": 1849},
    6: {"all": 7380} | {label: _EACH[label] for label in SIX},
    9: {"all": 7529} | _EACH,
}
SCALE = (1, 5)
SESSIONS = (1, 2, 3, 4, 5)
STYLES = {"impro": "improvised", "script": "scripted"}
FOLDERS = {"audio": "sentences/wav", "video": "dialog/avi/DivX", "text": "dialog/transcriptions"}

_STYLE = re.compile(r"Ses0[1-5][FM]_(impro|script)")
_SPOKEN = re.compile(r"(Ses0[1-5][FM]_\w+)\s*\[[^\]]*\]\s*:?(.*)$")


def face_region(dialogue: str, speaker: str, swap: bool = False) -> str:
    """The media fragment of a speaker's face in the 720x480 picture of a dialogue.

    The letter behind `Ses01` names the actor who wears the markers. Where the speaker ("F" or "M") is that actor the
    face is in the left half, else in the right one; `swap` is for copies with the halves the other way about.
    """
    left = (dialogue[5] == speaker) != swap
    return f"#xywh={0 if left else 360},112,360,256"


@dataclass
class Aside:
    """What is left out or wanting, gathered over all sessions: labels, ids without a transcript, evaluators' lines,
    and files.
    """

    labels: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)


@CORPORA.register("iemocap")
class Iemocap(Corpus):
    """The parser; see the module for label maps and counts."""

    help = "IEMOCAP: five sessions, two actors each; leave one session out"
    raw = "IEMOCAP_full_release, the folder with Session1 to Session5"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--classes",
            type=int,
            choices=sorted(MAPS),
            default=4,
            help="4 (exc as hap), 5 (with fru too), 6 (with exc and fru) or 9 (all but other) (default: 4)",
        )
        parser.add_argument(
            "--vad",
            action="store_true",
            help="valence, activation and dominance as further targets, of all rated utterances; those outside the "
            "classes have no emotion",
        )
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help="go on without recordings and transcriptions that are missing, empty or git-lfs pointers",
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
            if not any(folder.glob("Ses*.txt")):
                what = "no Ses*.txt in it" if folder.is_dir() else "no such folder"
                raise MMFairseqError(f"{folder}: {what}; RAW must be {self.raw}{archive_hint(raw)}")
        labels = MAPS[args.classes]
        numbers = DIMENSIONS if args.vad else ()
        emotion = Target("emotion", "single", tuple(dict.fromkeys(labels.values())), votes="emotion_votes")
        prepared = ParsedCorpus(
            Manifest(root, ["emotion", "emotion_votes", *numbers, "style"], []),
            [emotion, *(Target(name, "regression") for name in numbers)],
            protocols={},
            published=PUBLISHED[args.classes] | ({"rated": RATED} if args.vad else {}),
        )
        aside = Aside()
        media = _media(root, prepared)
        for session in SESSIONS:
            self._parse_session(session, labels, args, media, prepared, aside)
        aside.faults.settle(args.accept_missing, prepared.notes)
        rows = prepared.manifest.utterances
        if args.vad:
            prepared.details |= {f"without_emotion_{label}": n for label in LABELS if (n := aside.labels[label])}
        else:
            prepared.excluded += aside.labels
        evaluated = len(rows) + sum(prepared.excluded.values())
        prepared.details["evaluated"] = evaluated
        _tell(aside, prepared)
        labelled = [row for row in rows if row.labels["emotion"]]
        prepared.seen = {"all": len(labelled), "rated": evaluated}
        prepared.seen |= dict(Counter(row.labels["emotion"] for row in labelled))
        prepared.seen |= dict(Counter(row.session for row in labelled))
        prepared.protocols["leave_one_session_out"] = leave_one_session_out(rows)
        prepared.apart["leave_one_session_out"] = ("sessions", "speakers", "dialogues")
        return prepared

    def _parse_session(
        self,
        session: int,
        labels: dict[str, str],
        args: argparse.Namespace,
        media: set[str],
        prepared: ParsedCorpus,
        aside: Aside,
    ) -> None:
        root, base = prepared.manifest.root, f"Session{session}"
        here = {name for name in media if aside.faults.folder(root / base / FOLDERS[name])}
        for file in sorted((root / base / "dialog" / "EmoEvaluation").glob("Ses*.txt")):
            dialogue = file.stem
            turns = read_evaluation(file, session)
            texts: dict[str, str] = {}
            spoken = root / base / FOLDERS["text"] / file.name
            if "text" in here and aside.faults.check(spoken):
                texts = _transcripts(spoken, prepared)
            _tell_unrated(dialogue, turns, texts, prepared)
            for order, turn in enumerate(turns):
                where = f"{file}:{turn.line}: utterance {turn.id!r}"
                fields = {"emotion": "", "emotion_votes": "", "style": style(dialogue)}
                if args.vad:
                    fields |= dimensions(turn, where)
                    if any(not SCALE[0] <= float(fields[name]) <= SCALE[1] for name in DIMENSIONS):
                        aside.beyond.append(turn.id)
                if turn.label in labels:
                    votes, unknown = evaluators_votes(turn, labels)
                    aside.unknown += [f"{file.relative_to(root).as_posix()}:{line}: {text!r}" for line, text in unknown]
                    fields |= {"emotion": labels[turn.label], "emotion_votes": votes_text(votes)}
                else:
                    aside.labels[turn.label] += 1
                    if not args.vad:
                        continue
                letter = turn.id[-4]
                audio = f"{base}/{FOLDERS['audio']}/{dialogue}/{turn.id}.wav"
                video = f"{base}/{FOLDERS['video']}/{dialogue}.avi"
                row = Utterance(
                    id=turn.id,
                    speaker=f"Ses0{session}{letter}",
                    session=base,
                    dialogue=dialogue,
                    turn=str(order),
                    start=turn.start,
                    end=turn.end,
                    audio=f"{audio}#t=0" if "audio" in here and aside.faults.check(root / audio) else "",
                    video=f"{video}{face_region(dialogue, letter, args.swap_faces)}"
                    if "video" in here and aside.faults.check(root / video)
                    else "",
                    text=texts.get(turn.id, ""),
                    labels=fields,
                )
                if aside.faults and not (row.audio or row.video or row.text):
                    prepared.excluded["no recording"] += 1
                    continue
                check_row(row, root, file, turn.line)
                if not row.text:
                    aside.silent.append(row.id)
                prepared.manifest.utterances.append(row)


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


def _media(root: Path, prepared: ParsedCorpus) -> set[str]:
    """The modalities that any session has; a copy may do without the videos, but not without those of one session."""
    there = {
        name for name, folder in FOLDERS.items() if any((root / f"Session{n}" / folder).is_dir() for n in SESSIONS)
    }
    prepared.notes += [f"no {name}: {FOLDERS[name]} is in no session" for name in FOLDERS if name not in there]
    return there


def _tell(aside: Aside, prepared: ParsedCorpus) -> None:
    prepared.details["without_transcript"] = len(aside.silent)
    prepared.details["evaluators_not_understood"] = len(aside.unknown)
    if aside.silent:
        prepared.notes.append(f"{len(aside.silent)} utterances have no transcript: {named(aside.silent)}")
    if aside.unknown:
        prepared.notes.append(
            f"{len(aside.unknown)} evaluators named nothing, or what is no emotion of the corpus "
            f"({', '.join(name.capitalize() for name in NAMES)}), which did not count: {named(aside.unknown)}"
        )
    if aside.beyond:
        prepared.notes.append(
            f"{len(aside.beyond)} utterances have a dimension outside {SCALE[0]} to {SCALE[1]}, kept as it stands: "
            f"{named(aside.beyond)}"
        )


def _tell_unrated(dialogue: str, turns: list[Turn], texts: dict[str, str], prepared: ParsedCorpus) -> None:
    rated = {turn.id for turn in turns}
    unrated = [i for i in texts if i not in rated]
    _add(prepared, "transcripts_of_overlapping_speech", sum("XX" in i for i in unrated))
    if strange := [i for i in unrated if "XX" not in i]:
        _add(prepared, "transcripts_without_evaluation", len(strange))
        prepared.notes.append(f"{dialogue}: {len(strange)} transcripts have no evaluation: {named(strange)}")


def _transcripts(file: Path, prepared: ParsedCorpus) -> dict[str, str]:
    """{id: transcript} of one dialogue. Lines without an id (`M: Yeah.`) are nobody's utterance and only counted."""
    texts: dict[str, str] = {}
    for line in filter(str.strip, read_text(file).splitlines()):
        match = _SPOKEN.match(line.strip())
        if match:
            texts.setdefault(match[1], one_line(match[2]))
        else:
            _add(prepared, "transcript_lines_without_id", 1)
    return texts


def _add(prepared: ParsedCorpus, name: str, count: int) -> None:
    if count:
        prepared.details[name] = prepared.details.get(name, 0) + count
