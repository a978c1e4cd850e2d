"""A model card in the form of the Hugging Face Hub: YAML for machines, then Markdown for people.

The YAML follows the Hub's model card metadata with `model-index` (the fields of `huggingface_hub.EvalResult`).
"""

import math
import re
import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from .. import metrics
from ..tables import Table, number
from .html import render
from .predictions import REGRESSION
from .runs import Record
from .sections import Report, Section
from .tables import class_scores

# Our metric -> the Hub's name of its family.
FAMILIES = {
    "wa": "accuracy",
    "ua": "recall",
    "wf1": "f1",
    "mf1": "f1",
    "map": "average_precision",
    "auc": "roc_auc",
    "ece": "expected_calibration_error",
    "subset_acc": "accuracy",
    "mae": "mae",
    "corr": "pearsonr",
    "f1_has0": "f1",
    "f1_non0": "f1",
}
TASKS: dict[tuple[str, ...], str] = {
    ("audio",): "audio-classification",
    ("text",): "text-classification",
    ("video",): "video-classification",
}


def write(report: Report) -> str:
    """The text of `model_card.md`."""
    front = yaml.safe_dump(metadata(report), sort_keys=False, allow_unicode=True, width=100)
    command = shlex.join(_without_folders(report.run.record.command))
    weakest = [sentence for section in report.sections if (sentence := _weakest(section))]
    tables = [(section, _results(section).markdown()) for section in report.sections]
    return render("model_card.md.j2", front=front, report=report, tables=tables, command=command, weakest=weakest)


def metadata(report: Report) -> dict[str, Any]:
    """The front matter, in plain types."""
    record, summaries = report.run.record, report.run.summaries
    modalities = record.modalities or tuple(
        sorted({name for summary in summaries for item in summary.items for name in item.modalities})
    )
    task = TASKS.get(modalities, "audio-classification" if "audio" in modalities else "other")
    targets = dict.fromkeys(summary.group.name for summary in summaries)
    tags = dict.fromkeys(filter(None, ["mm-fairseq", record.arch, *modalities, *targets]))
    families = dict.fromkeys(_family(metric) for summary in summaries for metric in summary.headline)
    results = [_result(section, report.run.records, task) for section in report.sections]
    return {
        "library_name": "fairseq",
        "pipeline_tag": task,
        "tags": list(tags),
        "metrics": list(families),
        "model-index": [{"name": report.name, "results": [result for result in results if result["metrics"]]}],
    }


def _result(section: Section, records: dict[str, Record], task: str) -> dict[str, Any]:
    group = section.summary.group
    record = records.get(group.split, Record())
    data = record.data_bin or "data-bin"
    arguments = {"protocol": record.protocol, "fold": record.fold, "sha256": record.data}
    dataset: dict[str, Any] = {"type": data, "name": data, "split": group.split}
    if known := {name: value for name, value in arguments.items() if value}:
        dataset["args"] = known
    values = []
    for metric in section.summary.headline:
        value = section.summary.values[metric]
        if math.isfinite(value):
            entry: dict[str, Any] = {"type": _family(metric), "value": round(value, 6), "name": metric}
            low, high = section.intervals.get(metric, (math.nan, math.nan))
            if math.isfinite(low):
                entry["args"] = {"interval_95": [round(low, 6), round(high, 6)]}
            values.append(entry)
    return {"task": {"type": task, "name": f"{group.name} ({group.kind})"}, "dataset": dataset, "metrics": values}


def _family(metric: str) -> str:
    return FAMILIES.get(metric, "accuracy" if metric.startswith("acc") else metric)


def _results(section: Section) -> Table:
    rows = []
    for metric in section.summary.headline:
        low, high = section.intervals.get(metric, (math.nan, math.nan))
        interval = f"{number(low)} to {number(high)}" if math.isfinite(low) else "-"
        rows.append((metric, number(section.summary.values[metric]), interval, metrics.describe(metric)))
    return Table(section.title, ("metric", "value", "95 % interval", "meaning"), rows, False)


def _weakest(section: Section) -> str:
    """A sentence on the class that is found worst, or on the largest error; "" where nothing can be said."""
    summary, place = section.summary, section.title
    if summary.kind == REGRESSION:
        return f"{place}: the largest error is {abs(summary.said - summary.truth).max():.2f}." if summary.items else ""
    recalls = {
        label: own["recall"] for label, own in class_scores(summary).items() if "recall" in own and own["support"]
    }
    if not recalls:
        return ""
    worst = min(recalls, key=lambda label: recalls[label])
    return f"{place}: the class found least is {worst}, with a recall of {recalls[worst]:.3f}."


def _without_folders(command: Sequence[str]) -> list[str]:
    """The command as others may see it: of each path that starts at the root, the last part."""
    return [re.sub(r"(?:(?<=[:=])|^)/\S*/(?=[^/])", "", word.rstrip("/")) for word in command]
