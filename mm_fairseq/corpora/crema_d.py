"""CREMA-D (Cao et al. 2014, https://doi.org/10.1109/TAFFC.2014.2336244), read from a clone of its repository.

`AudioWAV/1001_DFA_ANG_XX.wav`, `VideoFlash/1001_DFA_ANG_XX.flv`: 91 actors, one of twelve sentences, the emotion that
the actor was told to show, and its level. 7,442 clips, of which four are known to be bad and are left out. Raters heard
(voice), saw (face) or did both (multimodal), and chose one emotion and how strong it was, 0 to 100.

`processedResults/summaryTable.csv` has the emotion that most raters chose, ties joined by `:` (`A:D`), and the mean
strength that those raters gave it (`37.2:58.6`), which is no number of votes and is not used.
`processedResults/tabulatedVotes.csv` has how many raters chose what; its rows are named 100000 (voice), 200000 (face)
or 300000 (multimodal) plus the number of the clip. The votes are from there, else from the summary: one vote a clip,
shared by ties. They are of the presentation that the label is of; beside the intended emotion, of the multimodal one.

File and column names, codes and sentences, the form of both tables and the meaning of the levels were read off the
repository (github.com/CheyneyComputerScience/CREMA-D: its tables, `docs/README.md` and `summarizeVotes.r`).
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import MMFairseqError, named
from ..manifest import Manifest, Utterance
from ..targets import Target
from .base import CORPORA, Corpus, Fold, ParsedCorpus, one_line
from .draw import rotate
from .recordings import Faults, archive_hint
from .records import read_columns
from .votes import shared, votes_text

LETTERS = {"A": "ANG", "D": "DIS", "F": "FEA", "H": "HAP", "N": "NEU", "S": "SAD"}
CLASSES = tuple(LETTERS.values())
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
LEVELS = ("LO", "MD", "HI", "XX")
ACTORS = tuple(str(number) for number in range(1001, 1092))
PUBLISHED = {"clips": 7442, "actors": 91} | dict.fromkeys(CLASSES, 1271) | {"NEU": 1087}
KNOWN_BAD = {
    "1064_IEO_DIS_MD": "a minute with every emotion",
    "1064_TIE_SAD_XX": "broken off at once",
    "1076_MTI_NEU_XX": "almost nothing in it",
    "1076_MTI_SAD_XX": "almost nothing in it",
}
FOLDERS = {"audio": ("AudioWAV", ".wav"), "video": ("VideoFlash", ".flv")}
PRESENTED = {"voice": ("1", "VoiceVote"), "face": ("2", "FaceVote"), "multimodal": ("3", "MultiModalVote")}
FOLDS = 5

_NAME = re.compile(rf"(\d{{4}})_({'|'.join(SENTENCES)})_({'|'.join(CLASSES)})_(LO|MD|HI|XX?)")

Votes = dict[str, dict[str, float]]


@CORPORA.register("crema_d")
class CremaD(Corpus):
    """The parser; see the module for the files."""

    help = "CREMA-D: 91 actors, twelve sentences, six emotions; five folds by actor"
    raw = "the clone of the repository, the folder with AudioWAV and VideoFlash"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--label",
            choices=["intended", *PRESENTED],
            default="intended",
            help="what the actor was to show, or what most raters chose who heard, saw, or did both; "
            "no label where that is a tie (default: intended)",
        )
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help="go on without media that are missing, empty or git-lfs pointers",
        )
        parser.add_argument(
            "--accept-counts", action="store_true", help="go on where the counts differ from the published ones"
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        files = {modality: find_clips(raw / folder, suffix) for modality, (folder, suffix) in FOLDERS.items()}
        names = sorted({name for found in files.values() for name in found})
        if not names:
            raise MMFairseqError(
                f"{raw}: neither AudioWAV/*.wav nor VideoFlash/*.flv; RAW must be {self.raw}{archive_hint(raw)}"
            )
        prepared = ParsedCorpus(Manifest(raw, [], []), [], {}, published=PUBLISHED)
        prepared.seen = {"clips": len(names), "actors": len({name[:4] for name in names})}
        prepared.seen |= Counter(name.split("_")[2] for name in names)
        if bad := [name for name in names if name in KNOWN_BAD]:
            prepared.excluded["known bad"] = len(bad)
            prepared.known_bad = {name: KNOWN_BAD[name] for name in bad}
        names = [name for name in names if name not in KNOWN_BAD]
        usable = self._usable(names, files, args.accept_missing, prepared)
        chosen, votes = self._annotations(raw / "processedResults", args.label, names, prepared)
        people = self._people(raw / "VideoDemographics.csv", names, prepared)
        for name in names:
            media = {modality: path.relative_to(raw).as_posix() for modality, path in usable[name].items()}
            if not media:
                prepared.excluded["no media"] += 1
                continue
            actor, sentence, emotion, level = name.split("_")
            labels = {"emotion": emotion if args.label == "intended" else chosen.get(name, "")}
            if votes:
                labels["emotion_votes"] = votes_text(votes.get(name, {}))
            labels |= people.get(actor, {}) | {"level": level, "sentence": sentence}
            prepared.manifest.utterances.append(
                Utterance(
                    id=name,
                    speaker=actor,
                    audio=media.get("audio", ""),
                    video=media.get("video", ""),
                    text=SENTENCES[sentence],
                    labels=labels,
                )
            )
        rows = prepared.manifest.utterances
        prepared.manifest.extra = list(dict.fromkeys(column for row in rows for column in row.labels))
        prepared.targets = [Target("emotion", "single", CLASSES, votes="emotion_votes" if votes else "")]
        if missing := sum(not row.labels["emotion"] for row in rows):
            prepared.notes.append(f"{missing} utterances have no label: a tie among the raters, or no raters")
        prepared.protocols["by_actor"] = by_actor(rows)
        prepared.apart["by_actor"] = ("speakers",)
        return prepared

    def _usable(
        self, names: Sequence[str], files: dict[str, dict[str, Path]], accept: bool, prepared: ParsedCorpus
    ) -> dict[str, dict[str, Path]]:
        """{clip: {modality: file}} of the media that are there.

        Raises:
            MMFairseqError: some are missing, empty, or git-lfs pointers in their place, and `accept` is False.
        """
        usable: dict[str, dict[str, Path]] = {name: {} for name in names}
        faults = Faults()
        for modality, found in files.items():
            folder, suffix = FOLDERS[modality]
            if not found:
                prepared.notes.append(f"no {modality}: {folder} is not there, or empty")
                continue
            for name in names:
                file = found.get(name, prepared.manifest.root / folder / f"{name}{suffix}")
                if faults.check(file):
                    usable[name][modality] = file
        faults.settle(accept, prepared.notes)
        return usable

    def _annotations(
        self, folder: Path, label: str, names: Sequence[str], prepared: ParsedCorpus
    ) -> tuple[dict[str, str], Votes]:
        """{clip: label that most raters chose} and {clip: votes}, of the presentation that belongs to `label`."""
        number, column = PRESENTED["multimodal" if label == "intended" else label]
        summary, tabulated = folder / "summaryTable.csv", folder / "tabulatedVotes.csv"
        if label != "intended" and not summary.is_file():
            raise MMFairseqError(f"--label {label}: {summary}: no such file; --label intended does without")
        majority = read_summary(summary, column) if summary.is_file() else {}
        votes: Votes = {}
        if tabulated.is_file():
            votes = read_votes(tabulated, number)
        elif majority:
            votes = {name: shared(labels) for name, labels in majority.items()}
            prepared.notes.append(
                f"no {tabulated.name}: the votes are one a clip, for what most raters chose ({column})"
            )
        else:
            prepared.notes.append("no processedResults: there are no votes")
        if votes and (unrated := [name for name in names if name not in votes]):
            prepared.notes.append(f"{len(unrated)} clips have no votes: {named(unrated)}")
        return {name: labels[0] for name, labels in majority.items() if len(labels) == 1}, votes

    def _people(self, file: Path, names: Sequence[str], prepared: ParsedCorpus) -> dict[str, dict[str, str]]:
        if not file.is_file():
            prepared.notes.append(f"no {file.name}: sex, age, race and ethnicity of the actors are not known")
            return {}
        people = read_people(file)
        if strangers := sorted({name[:4] for name in names} - people.keys()):
            prepared.notes.append(f"{file.name} has no line for the actors {named(strangers)}")
        return people


def find_clips(folder: Path, suffix: str) -> dict[str, Path]:
    """{clip: file} of one folder; `1040_ITH_SAD_X`, as older copies have it, is `1040_ITH_SAD_XX`.

    Raises:
        MMFairseqError: a file whose name is no clip's, or two of one clip.
    """
    clips: dict[str, Path] = {}
    for file in sorted(folder.glob("[!.]*")):
        if file.suffix.lower() != suffix:
            continue
        match = _NAME.fullmatch(file.stem)
        if not match or match[1] not in ACTORS:
            raise MMFairseqError(
                f"{file}: not the name of a clip, ACTOR_SENTENCE_EMOTION_LEVEL{suffix}: {ACTORS[0]} to {ACTORS[-1]}; "
                f"{', '.join(SENTENCES)}; {', '.join(CLASSES)}; {', '.join(LEVELS)}"
            )
        name = f"{file.stem}X" if match[4] == "X" else file.stem
        if name in clips:
            raise MMFairseqError(f"{file}: the same clip as {clips[name].name}")
        clips[name] = file
    return clips


def read_summary(file: Path, column: str) -> dict[str, list[str]]:
    """{clip: emotions that most raters chose, several where that is a tie} of summaryTable.csv.

    Raises:
        MMFairseqError: `file:line`: a column is missing, or a vote is none of A, D, F, H, N, S.
    """
    out = {}
    for record in read_columns(file, ("FileName", column), "comma"):
        letters = record.fields[column].strip().split(":")
        if strange := [letter for letter in letters if letter not in LETTERS]:
            raise MMFairseqError(f"{file}:{record.line}: {column} {strange[0]!r} is none of {', '.join(LETTERS)}")
        out[record.fields["FileName"].strip()] = [LETTERS[letter] for letter in letters]
    return out


def read_votes(file: Path, presentation: str) -> Votes:
    """{clip: {class: raters}} of tabulatedVotes.csv, of the rows whose name begins with `presentation`.

    Raises:
        MMFairseqError: `file:line`: a column is missing, or a number is none.
    """
    out: Votes = {}
    for record in read_columns(file, ("", *LETTERS, "fileName"), "comma"):
        if not record.fields[""].startswith(presentation):
            continue
        counts = {LETTERS[letter]: record.fields[letter].strip() for letter in LETTERS}
        if strange := [text for text in counts.values() if not text.isdecimal()]:
            raise MMFairseqError(f"{file}:{record.line}: {strange[0]!r} is not a number of raters")
        out[record.fields["fileName"].strip()] = {label: float(text) for label, text in counts.items() if text != "0"}
    return out


def read_people(file: Path) -> dict[str, dict[str, str]]:
    """{actor: {sex, age_group, race, ethnicity}} of VideoDemographics.csv; ages by tens of years ("20-29").

    Raises:
        MMFairseqError: `file:line`: a column is missing, or an age is no number of years.
    """
    out = {}
    for record in read_columns(file, ("ActorID", "Age", "Sex", "Race", "Ethnicity"), "comma"):
        fields = {name: one_line(text) for name, text in record.fields.items()}
        if not fields["Age"].isdecimal():
            raise MMFairseqError(f"{file}:{record.line}: age {fields['Age']!r} is not a number of years")
        tens = int(fields["Age"]) // 10 * 10
        out[fields["ActorID"]] = {
            "sex": fields["Sex"],
            "age_group": f"{tens}-{tens + 9}",
            "race": fields["Race"],
            "ethnicity": fields["Ethnicity"],
        }
    return out


def by_actor(rows: Iterable[Utterance]) -> dict[str, Fold]:
    """Five folds that keep each actor whole: fold k tests on group k, validates on the next and trains on the others.

    The groups are dealt from a hash over all 91 actors, so they are the same for a part of the corpus. (A split in use
    elsewhere has all actors in both training and test; figures on it say nothing of new voices and faces.)
    """
    return rotate(((row.speaker, row.id) for row in rows), ACTORS, FOLDS)
