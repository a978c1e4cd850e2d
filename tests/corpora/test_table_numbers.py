"""A column of numbers that `prepare table` takes for classes."""

import pytest

from mm_fairseq.errors import MMFairseqError

OPTIONS = ("--columns", "text=said,split=part", "--target", "arousal=label")
HINT = "all 3 labels are numbers: where they were measured and are no names, give --target arousal=label:regression"


@pytest.fixture
def table(tmp_path):
    """`table(label, ...)`: a table of texts, the first three rows in train, the others in test."""

    def write(*labels):
        rows = [f"word,{'train' if number < 3 else 'test'},{label}" for number, label in enumerate(labels)]
        (tmp_path / "corpus.csv").write_text("\n".join(["said,part,label", *rows]) + "\n")
        return tmp_path / "corpus.csv"

    return write


@pytest.mark.parametrize("labels", ["1 2 4 2", "-1.5 .5 2e-1 .5", "0 +1 2. 0"])
def test_it_is_told(table, parse, labels):
    assert f"target 'arousal': {HINT}" in parse("table", table(*labels.split()), *OPTIONS).notes


def test_it_is_told_where_it_is_an_error(table, parse):
    with pytest.raises(
        MMFairseqError, match=r"'-2.5e0' stands in test but nowhere in train.*; all 4 labels are numbers"
    ):
        parse("table", table("1", "2", "4", "-2.5e0"), *OPTIONS)


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        ("1 2 4 2", (*OPTIONS[:2], "--target", "arousal=label:regression")),
        ("1 2 4 2", (*OPTIONS, "--classes", "1,2,4")),
        ("0 1 0 1", OPTIONS),
        ("1 2 high 2", OPTIONS),
        ("nan 2 inf 2", OPTIONS),
    ],
)
def test_nothing_is_told_of_numbers_that_were_asked_for_and_of_names(table, parse, labels, options):
    assert not any("are numbers" in note for note in parse("table", table(*labels.split()), *options).notes)
