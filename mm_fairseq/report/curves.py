"""Learning curves, read from the log of fairseq-train in its formats json, simple and tqdm."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from .. import metrics

TAGS = ("train", "valid")
LINE = re.compile(rf"\| INFO \| ({'|'.join(TAGS)}) \| (.+)$")
BARE = re.compile(r"\{.*\}$|epoch\s+\d+ \| .+$")  # what --log-file writes: the same without time, level and tag
PARAMETERS = re.compile(r"num\. shared model params: ([\d,]+) \(num\. trained: ([\d,]+)\)")
EPOCH = re.compile(r"epoch\s+(\d+)\s*(?:\||$)")
# What fairseq logs about the work, not about the model.
WORK = {"wps", "ups", "wpb", "bsz", "num_updates", "lr", "gnorm", "clip", "train_wall", "wall", "loss_scale", "gb_free"}


@dataclass
class Curves:
    """A run's metrics by epoch.

    Args:
        values: metric -> tag (`train`, `valid`) -> epoch -> value; of an epoch that was repeated after an
            interruption, the last one.
        selects: the metric by which the best checkpoint is chosen; "" where the log does not say.
        parameters: of the model, and how many of them learn; None where the log does not say.
    """

    values: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    selects: str = ""
    parameters: tuple[int, int] | None = None

    def add(self, tag: str, epoch: int, stats: dict[str, str]) -> None:
        """Take in what one line says."""
        for key, text in stats.items():
            metric = key.removeprefix(f"{tag}_")
            if metric.startswith("best_"):
                self.selects = metric.removeprefix("best_")
            elif metric not in WORK:
                try:
                    value = float(text)
                except ValueError:
                    continue
                by_tag = self.values.setdefault(metric, {})
                by_tag.setdefault(tag, {})[epoch] = value

    def best(self) -> tuple[int, float] | None:
        """The epoch that the best checkpoint is of, and its value; None where the log does not say.

        Of equally good epochs it is the last, as fairseq overwrites the best checkpoint by one that is as good.
        """
        seen = self.values.get(self.selects, {}).get("valid", {})
        known = [(epoch, value) for epoch, value in sorted(seen.items(), reverse=True) if math.isfinite(value)]
        if not known:
            return None
        return (min if metrics.lower_is_better(self.selects) else max)(known, key=lambda pair: pair[1])


def read(folder: Path) -> Curves:
    """The curves of the run in a folder: of its `train.log`, or of every `*.log` where there is none.

    Lines that are torn or say something else are passed over; no log is no curve.
    """
    curves = Curves()
    own = folder / "train.log"
    for file in [own] if own.is_file() else sorted(folder.glob("*.log")):
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if found := LINE.search(line.rstrip()) or BARE.match(line.rstrip()):
                    tag, text = found.groups() if found.re is LINE else (_tag(found[0]), found[0])
                    epoch, stats = _json(text) if text.startswith("{") else _simple(text)
                    if epoch and tag:
                        curves.add(tag, epoch, stats)
                elif found := PARAMETERS.search(line):
                    count, learn = (int(number.replace(",", "")) for number in found.groups())
                    curves.parameters = count, learn
    return curves


def _tag(text: str) -> str:
    """Whether a line without a tag is of training or of validation; "" where it is of neither."""
    if text.startswith("{"):
        return next((tag for tag in TAGS if f'"{tag}_' in text), "")
    return "train" if "| valid on" not in text else "valid" if "| valid on 'valid' subset" in text else ""


def _json(text: str) -> tuple[int, dict[str, str]]:
    try:
        stats = json.loads(text)
    except json.JSONDecodeError:
        return 0, {}
    epoch = stats.pop("epoch", 0)
    return (int(epoch) if isinstance(epoch, int | float) else 0), {key: str(value) for key, value in stats.items()}


def _simple(text: str) -> tuple[int, dict[str, str]]:
    found = EPOCH.match(text)
    pairs = [part.split(maxsplit=1) for part in text.split(" | ")[1:]]
    return int(found[1]) if found else 0, {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
