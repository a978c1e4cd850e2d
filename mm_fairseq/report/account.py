"""The account of a prepared corpus as tables and as a web page: what is in it, and whether its splits can be trusted.

Everything comes from the JSON objects `account.json` and `audit.json`, which `mm-fairseq prepare` writes beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import metrics
from ..tables import Table
from . import html
from .baselines import MEDIAN, Values
from .baselines import NAMES as BASELINE_NAMES

Json = Mapping[str, Any]

NAMES = BASELINE_NAMES | {
    "constant_best": "best constant of all",
    "constant_all": "every class",
    "constant_zero": "always 0",
    "constant_mean": "mean of train",
    "constant_positive": "mean of train's positive ones",
}
SHARES = ("acc7", "acc5", "acc3", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0")
MAIN = ("wa", "ua", "wf1", "mf1", "subset_acc", "mae", "corr", *SHARES)
PLAIN = frozenset({"mae", "corr"})  # no shares of anything
SHARED = {
    "utterances": "the corpus says that they are one, or they are the same part of the same file",
    "file_hashes": "the same part of files of the same bytes",
    "recordings": "from one file, whatever part of it",
    "speakers": "of one speaker",
    "sessions": "of one session, episode, or what the corpus has of that kind",
    "dialogues": "of one dialogue, or one video",
    "transcripts": "the same text, but for case and white space",
    "words": "the same text, but for case, white space and punctuation",
}
COMMON, BEAT = "What splits have in common", "What a model has to beat"
MANY = 60  # rows of a table that has no end


def counts(account: Json) -> list[Table]:
    """Rows, speakers and labels of every split, a table for each target and protocol."""
    names = {"": "(no label)", "|": "(none of them)"}
    out = []
    for target, overall in account["targets"].items():
        for protocol, folds in account["splits"].items():
            rows = [
                (
                    f"{fold} {split}",
                    str(found["utterances"]),
                    str(found["speakers"]),
                    *(f"{found['targets'][target].get(label, 0):.6g}" for label in overall),
                )
                for fold, splits in folds.items()
                for split, found in splits.items()
            ]
            columns = ("fold", "rows", "speakers", *(names.get(label, label) for label in overall))
            out.append(Table(f"{target}, {protocol}", columns, rows))
    return out


def modalities(account: Json) -> list[Table]:
    """Rows of every split that have sound, text, pictures or features."""
    media = list(account["modalities"])
    return [
        Table(
            f"Modalities, {protocol}",
            ("fold", "rows", *media),
            [
                (f"{fold} {split}", *(f"{n}" for n in (found["utterances"], *found["modalities"].values())))
                for fold, splits in folds.items()
                for split, found in splits.items()
            ],
        )
        for protocol, folds in account["splits"].items()
    ]


def published(account: Json) -> Table | None:
    """What was found beside what the literature says; None where it says nothing."""
    found = [(name, count, account["seen"].get(name, 0)) for name, count in account["published"].items()]
    rows = [
        (name, f"{count:,}", f"{seen:,}", f"{seen - count:+,}" if seen != count else "0") for name, count, seen in found
    ]
    return Table("Found against published", ("", "published", "found", "difference"), rows) if rows else None


def durations(account: Json) -> list[Table]:
    """Hours (of a short corpus minutes or seconds) of every split and label."""
    found = account["durations"]
    if not found["utterances"]:
        return []
    unit, size = _unit(found["seconds"])
    title = "Seconds" if unit == "s" else unit.capitalize()
    tables = [
        Table(
            f"{title}, {protocol}",
            ("fold", unit, "share %"),
            [
                (f"{fold} {split}", f"{value / size:.2f}", _percent(value / max(sum(splits.values()), 1e-9)))
                for fold, splits in folds.items()
                for split, value in splits.items()
            ],
        )
        for protocol, folds in found["splits"].items()
    ]
    names = {"": "(no label)", "|": "(none of them)"}
    for target, labels in found["targets"].items():
        rows = [
            (names.get(label, label), f"{value / size:.2f}", _percent(value / max(found["seconds"], 1e-9)))
            for label, value in labels.items()
        ]
        tables.append(Table(f"{title}, {target}", (target, unit, "share %"), rows))
    return tables


def length(account: Json) -> str:
    """How long the corpus is, in a sentence."""
    found = account["durations"]
    told = []
    if found["utterances"]:
        unit, size = _unit(found["seconds"])
        told.append(
            f"{found['seconds'] / size:.2f} {unit} in {found['utterances']} utterances, {found['shortest']:.2f} s to "
            f"{found['longest']:.2f} s, median {found['median']:.2f} s"
        )
    for reason, each in found["unknown"].items():
        rest = " and others" if each["utterances"] > len(each["first"]) else ""
        told.append(f"not known of {each['utterances']} ({reason.replace('_', ' ')}): {', '.join(each['first'])}{rest}")
    return "; ".join(told)


def overlaps(audit: Json, brief: bool) -> list[Table]:
    """What splits have in common, a table for each protocol.

    Args:
        audit: as `audit.json` has it.
        brief: of each protocol only the fold where most utterances are concerned.
    """
    by_protocol: dict[str, list[Json]] = {}
    for each in audit["overlaps"]:
        by_protocol.setdefault(each["protocol"], []).append(each)
    out = []
    for protocol, found in by_protocol.items():
        folds = len({each["fold"] for each in found})
        if brief:
            worst: dict[tuple, Json] = {}
            for each in found:
                key = (*each["splits"], each["what"])
                if key not in worst or _share(each) > _share(worst[key]):
                    worst[key] = each
            found = list(worst.values())
        rows = [
            (
                f"{_fold(each['fold'], folds)}{each['what'].replace('_', ' ')} of {each['splits'][1]} in "
                f"{each['splits'][0]}{': LEAK' if each['leak'] else ''}",
                f"{each['shared']:,}",
                f"{each['all']:,}",
                f"{each['items'][1]:,}",
                f"{each['of'][1]:,}",
                _percent(_share(each)),
            )
            for each in found
        ]
        title = f"In two splits, {protocol}" + (f" (the worst of {folds} folds)" if brief and folds > 1 else "")
        out.append(Table(title, ("", "different", "of", "utterances", "of", "%"), rows))
    return out


def compared(account: Json, audit: Json) -> list[str]:
    """What splits were compared by, in a sentence where they share none of it, and how many files could not be."""
    named, faults = audit["files"]["named"], audit["files"]["faults"]
    there = {
        "files": named > sum(faults.values()),
        "words": account["modalities"]["text"],
        "speakers": account["speakers"],
        "sessions": account["sessions"],
        "dialogues": account["dialogues"],
    }
    known = [what for what, found in there.items() if found]
    told = []
    if not audit["overlaps"]:
        told.append(f"in two splits: nothing; compared: {', '.join(known) or 'the ids alone'}")
    if faults:
        reasons = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in faults.items())
        told.append(f"{sum(faults.values()):,} of {named:,} files could not be compared: {reasons}")
    return told


def baselines(audit: Json, targets: Sequence[str], brief: bool) -> list[Table]:
    """What a model has to beat, a table for each target and protocol, shares in per cent.

    Args:
        audit: as `audit.json` has it.
        targets: names of all.
        brief: means over the folds, of test alone where there is one.
    """
    out = []
    several = len(targets) > 1
    wanted = {target: {metrics.log_name(name, target, several): name for name in MAIN} for target in targets}
    if several:
        wanted["all targets at once"] = {"exact_match": "exact_match"}
    for protocol, folds in audit["baselines"].items():
        places = [("", _mean(folds))] if brief else _each(folds)
        for target, names in wanted.items():
            found = [values for _, each in places for values in each.values()]
            columns = [
                key
                for key, name in names.items()
                if any(key in values if name in PLAIN else values.get(key) is not None for values in found)
            ]
            named = NAMES | ({"majority": MEDIAN} if PLAIN & {names[key] for key in columns} else {})
            rows = [
                (f"{place}{named.get(name, name)}", *(_cell(names[key], values.get(key)) for key in columns))
                for place, each in places
                for name, values in each.items()
                if any(key in values for key in columns)
            ]
            if rows:
                heads = (names[key] if names[key] in PLAIN else f"{names[key]} %" for key in columns)
                where = f" on {_main_split(folds)}" if brief else ""
                mean = f" (mean of {len(folds)} folds)" if brief and len(folds) > 1 else ""
                out.append(Table(f"To beat{where}: {target}, {protocol}{mean}", ("answer", *heads), rows))
    return out


def page(account: Json, audit: Json) -> str:
    """All of it as one web page; nothing is fetched."""
    speakers = sorted(account["speakers"].items(), key=lambda each: (-each[1], each[0]))
    return html.render(
        "account.html.j2",
        account=account,
        audit=audit,
        css=html.style(),
        meanings=_meanings(audit, list(account["targets"])),
        length=length(account),
        compared=compared(account, audit),
        sections=[
            ("Counts", [*counts(account), *modalities(account)]),
            (COMMON, overlaps(audit, False)),
            (BEAT, baselines(audit, list(account["targets"]), False)),
            ("Durations", durations(account)),
            ("Published counts", [table for table in (published(account),) if table]),
            ("Speakers", [_counted("speaker", speakers)] if speakers else []),
            ("Attributes", [_counted(name, list(found.items())) for name, found in account["attributes"].items()]),
        ],
    )


def _meanings(audit: Json, targets: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """{title of a section: names that its tables have, and what they mean}."""
    things = dict.fromkeys(each["what"] for each in audit["overlaps"])
    columns = dict.fromkeys(column for table in baselines(audit, targets, False) for column in table.columns[1:])
    names = [column.removesuffix(" %") for column in columns]
    return {
        COMMON: [(what.replace("_", " "), SHARED[what]) for what in things],
        BEAT: [(name, metrics.describe(name)) for name in names],
    }


def _counted(name: str, found: Sequence[tuple[str, int]]) -> Table:
    rows = [(value or "(none)", f"{count:,}") for value, count in found[:MANY]]
    rest = f"The first {MANY} of {len(found)}; account.json has all." if len(found) > MANY else ""
    return Table(name, (name, "utterances"), rows, note=rest)


def _each(folds: Json) -> list[tuple[str, dict[str, Values]]]:
    return [
        (f"{_fold(fold, len(folds))}{split}: ", {name: each["metrics"] for name, each in found.items()})
        for fold, splits in folds.items()
        for split, found in splits.items()
    ]


def _main_split(folds: Json) -> str:
    return "test" if all("test" in splits for splits in folds.values()) else "valid"


def _mean(folds: Json) -> dict[str, Values]:
    """Of the folds that have a baseline and a metric."""
    found = [splits.get(_main_split(folds), {}) for splits in folds.values()]
    means: dict[str, Values] = {}
    for name in dict.fromkeys(name for each in found for name in each):
        values = [each[name]["metrics"] for each in found if name in each]
        known = {metric: [each[metric] for each in values if each.get(metric) is not None] for metric in values[0]}
        means[name] = {metric: sum(each) / len(each) if each else None for metric, each in known.items()}
    return means


def _cell(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if metric in PLAIN else _percent(value)


def _share(overlap: Json) -> float:
    return overlap["items"][1] / overlap["of"][1]


def _fold(fold: str, folds: int) -> str:
    return f"fold {fold}: " if folds > 1 else ""


def _percent(value: float) -> str:
    """What is not all of it is no 100.0."""
    return f"{min(100 * value, 99.9) if value < 1 else 100 * value:.1f}"


def _unit(seconds: float) -> tuple[str, float]:
    """What so long a time is told in, and its seconds."""
    return next(((name, size) for name, size in (("hours", 3600.0), ("minutes", 60.0)) if seconds >= size), ("s", 1.0))
