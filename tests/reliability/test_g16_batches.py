"""G16: the results of a model do not depend on the size of batches, on neighbours in them, their order or ranks.

That each architecture gives the same logits beside any neighbour is tested beside the architectures; here the whole of
`fairseq-validate` is, to the last digit that the arithmetic of other shapes leaves.
"""

import pytest
from commands import predictions, results
from databin_factory import write_data_bin
from trainings import on_ranks, train, validate

pytestmark = pytest.mark.filterwarnings("ignore")  # of hydra, in every command of fairseq
SPLIT = "train"  # the largest: 64 utterances and more


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data-bin of 72 utterances of every kind of target, with gaps, and a checkpoint that has learnt from it."""
    folder = tmp_path_factory.mktemp("g16")
    gaps = {"audio": {3, 4}, "text": {4, 9}}
    data_bin = write_data_bin(folder / "data-bin", 18, missing=gaps, every_kind=True)
    run = ["--batch-size", 16, "--max-epoch", 2, "--modalities", "audio,text", "--encoder-layers-cross", 1]
    train(data_bin, folder / "run", *run)
    return data_bin, folder / "run" / "checkpoint_last.pt"


def told(folder):
    rows = {(row["id"], row["name"]): row for row in predictions(folder / SPLIT)}
    return results(folder / SPLIT)["metrics"], rows


def numbers(row):
    """Every number of a row, those in lists and objects too."""
    for value in row.values() if isinstance(row, dict) else row:
        if isinstance(value, dict | list):
            yield from numbers(value)
        elif isinstance(value, float):
            yield value


def same(found, expected):
    (metrics, rows), (other_metrics, other_rows) = found, expected
    assert metrics == pytest.approx(other_metrics, abs=1e-5, nan_ok=True)
    assert list(rows) == list(other_rows)
    for key, row in rows.items():
        assert list(numbers(row)) == pytest.approx(list(numbers(other_rows[key])), abs=1e-5)


def ways(full):
    """Options of `fairseq-validate` and numbers of ranks; 400 tokens make batches of one to a dozen."""
    sizes = [("--batch-size", size) for size in (1, 7, 64)] + [("--max-tokens", 400)]
    return [(sizes[0], 1), (sizes[1], 1), (sizes[1], 2), (sizes[2], 1)] + full * [(size, 3) for size in sizes]


def check(trained, folder, full):
    expected = None
    for number, (options, ranks) in enumerate(ways(full)):
        args = (*trained, folder / str(number), "--valid-subset", SPLIT, *options)
        assert on_ranks(ranks, validate, *args) == [""] * ranks if ranks > 1 else validate(*args) is None
        found = told(folder / str(number))
        assert len(found[1]) == 4 * 72
        expected = expected or found
        same(found, expected)


def test_batches_and_ranks(trained, tmp_path):
    check(trained, tmp_path, full=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_more_batches_and_ranks(trained, tmp_path):
    check(trained, tmp_path, full=True)


def test_a_difference_would_be_found(trained, tmp_path):
    validate(*trained, tmp_path, "--valid-subset", SPLIT, "--batch-size", 7)
    found, other = told(tmp_path), told(tmp_path)
    key, row = next((key, row) for key, row in other[1].items() if list(numbers(row)))
    name = next(name for name, value in row.items() if isinstance(value, float) or list(numbers([value])))
    other[1][key] = row | {name: [0.123]}
    with pytest.raises(AssertionError):
        same(found, other)
