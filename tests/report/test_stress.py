"""What a run loses under stress, against the metrics of both sets of predictions."""

import csv
import json

import numpy as np
import pytest

from mm_fairseq import report
from mm_fairseq.cli import main
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.report import predictions, runs
from mm_fairseq.report.summary import summarise

STRESSES = ("noise=20", "noise=-5", "noise=10", "text=text_asr", "without=audio")


@pytest.fixture
def stressed_run(make_run, random_lines, write_lines, tmp_path):
    """A run whose test split was scored under five stresses as well."""
    folder = make_run(tmp_path / "run")
    for seed, name in enumerate(STRESSES, start=1):
        lines = random_lines(seed=seed, split=f"test@{name}")
        write_lines(lines, f"run/test@{name}/predictions.jsonl")
        record = json.loads((folder / "test" / "results.json").read_text()) | {"split": f"test@{name}", "stress": name}
        (folder / f"test@{name}" / "results.json").write_text(json.dumps(record))
    return folder


def values_of(folder, split):
    return summarise(predictions.read(folder / split / "predictions.jsonl")[0]).values


def test_value_and_change_of_every_main_metric(stressed_run, tmp_path):
    written = report.write(stressed_run, tmp_path / "out", resamples=0)
    assert [section.title for section in written.sections] == ["emotion on test"]  # what is stressed is no split
    (table,) = written.stress
    assert table.title == "Under stress: test"
    assert table.columns == ("stress", "wa", "change", "ua", "change", "wf1", "change", "mf1", "change", "n")
    assert [row[0] for row in table.rows] == [
        *("nothing", "noise=20", "noise=10", "noise=-5", "text=text_asr", "without=audio")  # worse and worse
    ]
    clean = values_of(stressed_run, "test")
    for name, *cells, n in table.rows:
        found = clean if name == "nothing" else values_of(stressed_run, f"test@{name}")
        for metric, value, change in zip(("wa", "ua", "wf1", "mf1"), cells[::2], cells[1::2]):
            assert value == f"{found[metric]:.3f}"
            assert change == ("" if name == "nothing" else f"{found[metric] - clean[metric]:+.3f}")
        assert n == "60"


def test_it_stands_in_page_markdown_and_csv(stressed_run, tmp_path):
    written = report.write(stressed_run, tmp_path / "out", resamples=0)
    assert "stress.csv" in written.files
    for file, words in (("index.html", "<h2>Under stress: test</h2>"), ("report.md", "## Under stress: test")):
        text = (tmp_path / "out" / file).read_text("utf-8")
        assert words in text
        assert "text=text_asr" in text.replace("\\", "")
    with (tmp_path / "out" / "stress.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    clean, noisy = values_of(stressed_run, "test"), values_of(stressed_run, "test@noise=10")
    assert {row["metric"] for row in rows} == {"wa", "ua", "wf1", "mf1", "map", "auc", "ece"}
    (row,) = [row for row in rows if (row["stress"], row["metric"]) == ("noise=10", "auc")]
    assert (row["split"], row["target"], row["n"]) == ("test", "emotion", "60")
    numbers = [float(row[name]) for name in ("value", "without_stress", "difference")]
    assert numbers == pytest.approx([noisy["auc"], clean["auc"], noisy["auc"] - clean["auc"]], abs=1e-6)


def test_no_word_of_it_without_stress(run_folder, tmp_path):
    written = report.write(run_folder, tmp_path / "out", resamples=0)
    assert written.stress == []
    assert "stress.csv" not in written.files
    assert "stress" not in (tmp_path / "out" / "report.md").read_text("utf-8")


@pytest.mark.parametrize("part", ["", "test", "test/predictions.jsonl"])
def test_they_are_found_beside_a_split_or_its_file(stressed_run, part):
    run = runs.read(stressed_run / part)
    assert [summary.group.split for summary in run.stressed] == [
        *("test@noise=20", "test@noise=10", "test@noise=-5", "test@text=text_asr", "test@without=audio")
    ]
    assert run.splits == ["test"]
    assert list(run.records) == ["test"]
    assert runs.contradictions(run) == []


def test_results_of_another_checkpoint_or_of_other_utterances_are_told(stressed_run):
    file = stressed_run / "test@noise=10" / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data": "7"}))
    lines = (stressed_run / "test@without=audio" / "predictions.jsonl").read_text().splitlines(keepends=True)
    (stressed_run / "test@without=audio" / "predictions.jsonl").write_text("".join(lines[2:]))
    first, second = runs.contradictions(runs.read(stressed_run))
    assert first.startswith("results.json of test@noise=10 has data 7, that of test 9f86d081")
    assert second == "test@without=audio has 0 utterances that test lacks, and lacks 2"


def test_alone_it_is_a_split_of_its_own(stressed_run):
    run = runs.read(stressed_run / "test@noise=10")
    assert run.splits == ["test@noise=10"]
    assert run.stressed == []


def test_targets_stand_side_by_side_with_the_match_of_all(make_run, random_lines, write_lines, tmp_path):
    both = [*random_lines(), *random_lines("regression", name="mood"), *random_lines(seed=5, name="act")]
    folder = make_run(tmp_path / "run", both)
    split = {"split": "test@noise=0"}
    worse = [*random_lines(seed=9, **split), *random_lines("regression", seed=8, name="mood", **split)]
    write_lines([*worse, *random_lines(seed=7, name="act", **split)], "run/test@noise=0/predictions.jsonl")
    (table,) = report.write(folder, tmp_path / "out", resamples=0).stress
    assert [name for name in table.columns if name != "change"] == [
        *("stress", "wa_emotion", "mae_mood", "wa_act", "exact_match", "n")
    ]
    clean, noisy = ([float(cell) for cell in row[1:-1] if cell] for row in table.rows)
    assert np.allclose(np.array(noisy[::2]) - np.array(clean), noisy[1::2], atol=0.0011)


def test_some_of_them(stressed_run, tmp_path, capsys):
    words = ["report", str(stressed_run), str(tmp_path / "out"), "--resamples", "0", "--stress"]
    assert main([*words, "without=audio,noise=10"]) == 0
    out = capsys.readouterr().out
    assert "Under stress: test" in out
    assert out.index("without=audio") < out.index("noise=10")
    assert "noise=20" not in out
    assert main([*words, "noise=3"]) == 2
    told = (
        "--stress noise=3: no such results beside the others; fairseq-validate --stress writes them; there is noise=20"
    )
    assert told in capsys.readouterr().err
    with pytest.raises(MMFairseqError, match="there is none"):
        report.write(stressed_run / "test@noise=10", tmp_path / "out", stresses=["noise=10"])
