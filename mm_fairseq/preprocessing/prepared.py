"""Reading what `mm-fairseq prepare` wrote, or a person by hand, and checking it before any work is done."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError
from ..manifest import Manifest
from ..targets import Target, kind_of, read_targets

# protocol, fold, split -> row numbers
Splits = dict[tuple[str, str, str], list[int]]


@dataclass
class Prepared:
    """A checked corpus.

    Args:
        manifest: its rows.
        targets: what is predicted.
        protocols: `{"name", "folds"}`, the default one first.
        splits: row numbers of every protocol, fold and split.
        sha256: of manifest.tsv, targets.json and the split lists.
    """

    manifest: Manifest
    targets: list[Target]
    protocols: list[dict[str, Any]]
    splits: Splits
    sha256: dict[str, str]

    @classmethod
    def read(cls, folder: str | os.PathLike, as_text: bool = False) -> "Prepared":
        """Read manifest.tsv, targets.json, splits/ and account.json.

        Args:
            folder: with these.
            as_text: hold the rows as text, see `Manifest.read`.

        Raises:
            MMFairseqError: a file is missing or wrong, a label is none of its target's classes, votes are not what they
                must be, an id in a list is unknown or stands in two lists of a fold.
        """
        folder = Path(folder)
        path = folder / "manifest.tsv"
        manifest, targets = Manifest.read(path, as_text), read_targets(folder / "targets.json")
        if not len(manifest):
            raise MMFairseqError(f"{path}: no utterances")
        _check_labels(path, manifest, targets)
        protocols, splits = _read_splits(folder, manifest)
        sums = {name: hashlib.sha256((folder / name).read_bytes()) for name in ("manifest.tsv", "targets.json")}
        sums["splits"] = hashlib.sha256(json.dumps([[*key, rows] for key, rows in splits.items()]).encode())
        return cls(manifest, targets, protocols, splits, {name: value.hexdigest() for name, value in sums.items()})

    def default_train(self) -> list[int]:
        """Rows of the train split of the default protocol's first fold; empty where there is none."""
        if not self.protocols:
            return []
        return self.splits.get((self.protocols[0]["name"], self.protocols[0]["folds"][0], "train"), [])


def _check_labels(path: Path, manifest: Manifest, targets: list[Target]) -> None:
    if absent := [target.name for target in targets if target.name not in manifest.extra]:
        raise MMFairseqError(f"{path}:2: no column for target {absent[0]!r} of targets.json; columns: {manifest.extra}")
    for target in targets:
        if target.votes and target.votes not in manifest.extra:
            raise MMFairseqError(
                f"{path}:2: no column {target.votes!r}, where targets.json has the votes of target {target.name!r}; "
                f"columns: {manifest.extra}"
            )
    kinds = [(target, kind_of(target)) for target in targets]
    for line, row in enumerate(manifest.utterances, start=3):
        for target, kind in kinds:
            try:
                kind.check(row.labels.get(target.name, ""), row.labels.get(target.votes, ""))
            except MMFairseqError as error:
                raise MMFairseqError(f"{path}:{line}: utterance {row.id!r}: {error}") from error


def _read_splits(folder: Path, manifest: Manifest) -> tuple[list[dict[str, Any]], Splits]:
    numbers = {row.id: number for number, row in enumerate(manifest.utterances)}
    root = folder / "splits"
    if not root.is_dir():  # a manifest written by hand: its own column is the only protocol
        names = dict.fromkeys(row.split for row in manifest.utterances if row.split)
        splits = {
            ("official", "1", name): [number for number, row in enumerate(manifest.utterances) if row.split == name]
            for name in names
        }
        return ([{"name": "official", "folds": ["1"]}] if splits else []), splits
    splits = {}
    for protocol, fold in _folds(root):
        seen: dict[int, str] = {}
        for path in sorted(
            path for path in (root / protocol / fold).iterdir() if path.is_file() and path.name[0] != "."
        ):
            rows = splits[protocol, fold, path.name] = []
            for line, name in enumerate(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"), start=1):
                if not (name or line > 1):
                    continue  # an empty list
                if name not in numbers:
                    raise MMFairseqError(f"{path}:{line}: utterance {name!r} is not in the manifest")
                if (row := numbers[name]) in seen:
                    raise MMFairseqError(
                        f"{path}:{line}: utterance {name!r} stands already in {seen[row]} of this fold"
                    )
                seen[row] = path.name
                rows.append(row)
    return _protocols(folder, list(splits)), splits


def _folds(root: Path) -> Iterator[tuple[str, str]]:
    for protocol in sorted(path for path in root.iterdir() if path.is_dir()):
        for fold in sorted(
            (path for path in protocol.iterdir() if path.is_dir()), key=lambda path: _natural(path.name)
        ):
            yield protocol.name, fold.name


def _natural(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else 0, name)


def _protocols(folder: Path, keys: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """All protocols, in the order of account.json where it names them."""
    folds: dict[str, dict[str, None]] = {}
    for protocol, fold, _ in keys:
        folds.setdefault(protocol, {})[fold] = None
    account = folder / "account.json"
    try:
        told = json.loads(account.read_bytes())["protocols"] if account.is_file() else []
        first = [entry["name"] for entry in told if entry["name"] in folds]
    except (ValueError, KeyError, TypeError) as error:
        raise MMFairseqError(
            f"{account}: expected an object with a list `protocols` of {{name, folds}}: {error!r}"
        ) from error
    return [{"name": name, "folds": list(folds[name])} for name in dict.fromkeys([*first, *folds])]
