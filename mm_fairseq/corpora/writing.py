"""The prepared folder on disk: written whole or not at all."""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..atomic import held, hidden
from ..errors import MMFairseqError, named
from ..manifest import COLUMNS, CONTEXT, FEATURES, TEXT_ASR
from ..targets import write_targets
from .account import account
from .base import APART, FILES, SPLITS, ParsedCorpus

PREPARED = frozenset({"manifest.tsv", "targets.json", "account.json", "audit.json", "account.html", "splits", FILES})
"""All that a prepared folder may hold."""
Examine = Callable[[Path, dict[str, Any]], Mapping[str, str]]
"""From the folder that is being written, with its `FILES`, and the account to further files, {name: contents}."""


def write(
    name: str, prepared: ParsedCorpus, out: Path, overwrite: bool = False, examine: Examine | None = None
) -> dict[str, Any]:
    """Write the prepared folder in one step: it appears complete or not at all. Returns the account.

    Args:
        name: the corpus, as registered.
        prepared: what the corpus parsed.
        out: the folder; new, empty, or with `overwrite` one that this function wrote.
        examine: a last look at what is to be written; it may add to the account, or raise an error.

    Raises:
        MMFairseqError: `out` is taken, a column or the protocols do not fit the manifest, or as `examine`.
    """
    out = Path(os.path.realpath(out))
    _check_columns(prepared)
    _check_protocols(prepared)
    counts = account(name, prepared)
    out.parent.mkdir(parents=True, exist_ok=True)
    with held(hidden(out), wait=0):
        new, old = (out.with_name(f".{out.name}.{which}") for which in ("new", "old"))
        _tidy(out, new, old)
        check_free(out, overwrite)
        new.mkdir()
        try:
            _fill(new, prepared, counts, examine)
            if out.exists():
                out.rename(old)
            new.rename(out)
        finally:
            _tidy(out, new, old)
    return counts


def _tidy(out: Path, new: Path, old: Path) -> None:
    """Remove what this run or a killed one leaves; the old folder takes its place again where there is none."""
    shutil.rmtree(new, ignore_errors=True)
    if not out.exists() and old.exists():
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _fill(folder: Path, prepared: ParsedCorpus, counts: dict[str, Any], examine: Examine | None) -> None:
    _write_files(folder / FILES, prepared.files)
    for file, text in (examine(folder, counts) if examine else {}).items():
        (folder / file).write_text(text, encoding="utf-8")
    for protocol, folds in prepared.protocols.items():
        for fold, splits in folds.items():
            place = folder / "splits" / protocol / fold
            place.mkdir(parents=True)
            for split in SPLITS:
                (place / split).write_text("".join(f"{i}\n" for i in splits.get(split, [])), encoding="utf-8")
    write_targets(folder / "targets.json", prepared.targets)
    (folder / "account.json").write_text(json.dumps(counts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    prepared.manifest.write(folder / "manifest.tsv")


def _write_files(folder: Path, files: Mapping[str, Callable[[Path], Any]]) -> None:
    for name, write_to in tqdm(files.items(), desc="prepare", unit="file", disable=None if files else True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to(path)


def check_free(out: Path, overwrite: bool) -> None:
    """Raises MMFairseqError where writing `out` would replace something that it must not."""
    if not out.exists():
        return
    if not out.is_dir():
        raise MMFairseqError(f"{out}: is a file; the output must be a folder")
    found = {path.name for path in out.iterdir()}
    foreign = sorted(found - PREPARED)
    if foreign:
        raise MMFairseqError(f"{out}: holds other files ({named(foreign)}); give a new or empty folder")
    if found and not overwrite:
        raise MMFairseqError(f"{out}: is already a prepared folder; --overwrite replaces it")


def _check_columns(prepared: ParsedCorpus) -> None:
    """See that no label, vote or attribute would stand in a column that means something else."""
    fixed = (*COLUMNS, FEATURES)
    labels = [name for target in prepared.targets for name in (target.name, target.votes) if name]
    for name in prepared.manifest.extra + labels:
        if name in fixed:
            raise MMFairseqError(
                f"column {name!r}: a target or an attribute can't have the name of a column of every manifest "
                f"({', '.join(fixed)}); give it another name"
            )
    for name in labels:
        if name in (CONTEXT, TEXT_ASR):
            raise MMFairseqError(
                f"column {name!r}: no target can be called so: the column holds "
                f"{'what was said before' if name == CONTEXT else 'what a recogniser heard'}; give it another name"
            )
    if twice := [name for name, count in Counter(prepared.manifest.extra).items() if count > 1]:
        raise MMFairseqError(f"column {twice[0]!r}: two targets or attributes have this name")


def _check_protocols(prepared: ParsedCorpus) -> None:
    known = {row.id for row in prepared.manifest.utterances}
    if not known:
        raise MMFairseqError("no utterance is left: the corpus is empty, or every label is outside the classes")
    if promises := {*prepared.apart} - {*prepared.protocols} | {*chain(*prepared.apart.values())} - {*APART}:
        raise AssertionError(f"a corpus promises what nobody knows: {promises}")
    for protocol, folds in prepared.protocols.items():
        for fold, splits in folds.items():
            where = f"protocol {protocol!r}, fold {fold!r}"
            if not all(re.fullmatch(r"\w[\w.-]*", part) for part in (protocol, fold)):
                raise MMFairseqError(f"{where}: a name consists of letters, digits, '_', '-' and '.'")
            if unknown := sorted(set(splits) - set(SPLITS)):
                raise MMFairseqError(f"{where}: unknown splits {named(unknown)}; allowed: {', '.join(SPLITS)}")
            times = Counter(i for ids in splits.values() for i in ids)
            if twice := [i for i, count in times.items() if count > 1]:
                raise MMFairseqError(f"{where}: {len(twice)} utterances stand in two splits: {named(twice)}")
            if strange := sorted(set(times) - known):
                raise MMFairseqError(f"{where}: {len(strange)} ids are not in the manifest: {named(strange)}")
            if empty := [split for split in SPLITS if not splits.get(split)]:
                prepared.notes.append(f"{where}: no utterances in {', '.join(empty)}")
