"""Whether a file answers as the model does: alone and in batches, with every set of modalities, at every length."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .formats import Run
from .parts import Part, Tensors
from .samples import Sample, batch_of, cut

TOLERANCE = 1e-4


class Case(NamedTuple):
    """A batch: what it is called, and the rows of it."""

    samples: list[str]
    rows: list[dict[str, np.ndarray]]


def cases(part: Part, samples: Sequence[Sample], seed: int = 1) -> Iterator[Case]:
    """The batches that a file is tried on.

    Each sample by itself with every set of its modalities, and once cut at a drawn length; all together; all together
    with modalities withheld from some by lot; and nothing at all beside a sample.
    """
    random, names = np.random.default_rng(seed), [port.name for port in part.ports]
    rows = [{name: sample.items[name] for name in names if name in sample.items} for sample in samples]
    for sample, row in zip(samples, rows, strict=True):
        for size in range(len(row), 0, -1):
            for chosen in combinations(row, size):
                yield Case([sample.id], [{name: row[name] for name in chosen}])
        if sample.real:
            short = cut(sample, part.ports, random)
            yield Case([short.id], [short.items])
    ids = [sample.id for sample in samples]
    yield Case(ids, rows)
    yield Case(ids, [{name: item for name, item in row.items() if random.random() < 0.5} for row in rows])
    yield Case([ids[0], "nothing"], [rows[0], {}])


@torch.no_grad()
def compare(part: Part, run: Run, samples: Sequence[Sample], tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Run all cases through the model and through the file.

    Args:
        part: what was exported; its module is the model.
        run: the file.
        samples: see `cases`.
        tolerance: the largest difference of two numbers that is allowed.

    Returns:
        plain types: `passed`, `worst`, `tolerance`, and for each of `cases` its `samples`, `lengths` of their
        modalities, and the largest `difference` of each output, None where it is not a number.
    """
    found, numbers = list[dict[str, Any]](), list[float | None]()
    for case in cases(part, samples):
        batch = batch_of(part, case.rows)
        differences = _differences(part.module(*batch), run(*batch))
        numbers += differences.values()
        found.append(
            {
                "samples": case.samples,
                "lengths": [{name: len(item) for name, item in row.items()} for row in case.rows],
                "difference": differences,
            }
        )
    worst = None if None in numbers else max(number for number in numbers if number is not None)
    return {
        "passed": worst is not None and worst <= tolerance,
        "worst": worst,
        "tolerance": tolerance,
        "real_samples": sum(sample.real for sample in samples),
        "made_samples": sum(not sample.real for sample in samples),
        "cases": found,
    }


def _differences(wanted: Tensors, got: Tensors) -> dict[str, float | None]:
    if "padding_mask" in wanted:
        wanted, got = _of_equal_length(wanted, got)
    return {name: _difference(x, got[name]) for name, x in wanted.items()}


def _of_equal_length(wanted: Tensors, got: Tensors) -> tuple[Tensors, Tensors]:
    """Features of which one side has more padding behind."""
    most = max(found["padding_mask"].size(1) for found in (wanted, got))

    def longer(found: Tensors) -> Tensors:
        beyond = most - found["padding_mask"].size(1)
        x = torch.nn.functional.pad(found["features"], (0, 0, 0, beyond))
        mask = torch.nn.functional.pad(found["padding_mask"], (0, beyond), value=True)
        return {"features": x, "padding_mask": mask.float()}

    return longer(wanted), longer(got)


def _difference(one: Tensor, other: Tensor) -> float | None:
    """The largest; None where shapes differ or something is not a number."""
    if one.shape != other.shape:
        return None
    worst = float((one - other).abs().max())
    return worst if np.isfinite(worst) else None
