"""The run beside its own parts and beside answers that need no model."""

import json

import pytest

from mm_fairseq import report
from mm_fairseq.cli import main
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.report import baselines, runs

BASELINES = {
    "majority": {"metrics": {"wa": 0.4, "ua": 0.33, "wf1": 0.25, "mf1": None}},
    "transcript_lookup": {"known": 0.5, "metrics": {"wa": 0.75, "ua": 0.7, "wf1": 0.71, "mf1": 0.66}},
}


@pytest.fixture
def with_baselines(run_folder, record):
    (run_folder / "test/results.json").write_text(json.dumps(record | {"baselines": BASELINES}))
    return run_folder


def write_subsets(folder, split="test", **metrics):
    values = {name: {"utterances": 60, "without": 0, "metrics": each} for name, each in metrics.items()}
    (folder / "subsets").mkdir(exist_ok=True)
    (folder / "subsets/subsets.json").write_text(json.dumps({"split": split, "subsets": values}))


def test_a_row_each(with_baselines):
    values = runs.read(with_baselines).summaries[0].values
    both = {name: values[name] for name in ("wa", "ua", "wf1", "mf1")}
    write_subsets(with_baselines, **{"audio+text": both, "audio": {"wa": 0.3}, "text": {"wa": 0.35, "mf1": None}})
    run = runs.read(with_baselines)
    table = baselines.table("mine", ("text", "audio"), run.summaries, run.record.baselines, run.subsets)
    assert table.columns == ("answered from", "wa", "ua", "wf1", "mf1")
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["mine (audio + text)", "audio alone", "text alone", "majority of train", "transcript look-up"]
    assert rows["mine (audio + text)"] == tuple(f"{values[name]:.3f}" for name in ("wa", "ua", "wf1", "mf1"))
    assert rows["audio alone"] == ("0.300", "-", "-", "-")
    assert rows["majority of train"] == ("0.400", "0.330", "0.250", "-")
    assert "50% of the transcripts stand in train" in table.note
    assert runs.contradictions(run) == []


def test_several_targets_have_the_names_of_the_log_and_exact_match(make_run, random_lines, record, tmp_path):
    lines = [*random_lines(name="action"), *random_lines("multilabel", name="tags")]
    folder = make_run(tmp_path / "run", [*lines, *random_lines("regression", name="score")])
    row = {"metrics": {"wa_action": 0.1, "mae_score": 1.5, "exact_match": 0.0}}
    (folder / "test/results.json").write_text(json.dumps(record | {"baselines": {"majority": row}}))
    (table,) = report.write(folder, tmp_path / "out", resamples=0).baselines
    assert table.columns == (
        *("answered from", "wa_action", "wf1_action", "wf1_tags", "subset_acc_tags"),
        *("mae_score", "corr_score", "exact_match"),
    )
    assert table.rows[1] == ("majority of train (of numbers the median)", "0.100", "-", "-", "-", "1.500", "-", "0.000")
    assert table.note == ""


def test_of_numbers_the_usual_answer_is_the_median(make_run, random_lines, record, tmp_path):
    folder = make_run(tmp_path / "run", random_lines("regression", name="score"))
    found = {"majority": {"metrics": {"mae": 1.5}}, "transcript_lookup": {"known": 0.5, "metrics": {"mae": 1}}}
    (folder / "test/results.json").write_text(json.dumps(record | {"baselines": found}))
    (table,) = report.write(folder, tmp_path / "out", resamples=0).baselines
    assert [row[0] for row in table.rows[1:]] == ["median of train", "transcript look-up"]
    assert "else the median. 50% of" in table.note
    for name in ("index.html", "report.md"):
        assert "majority" not in (tmp_path / "out" / name).read_text()


def test_it_stands_in_the_page_in_markdown_and_on_the_terminal(with_baselines, tmp_path, capsys):
    write_subsets(with_baselines, audio={"wa": 0.3})
    assert main(["report", str(with_baselines), str(tmp_path / "out"), "--resamples", "0"]) == 0
    shown = capsys.readouterr().out
    for text in (shown, *((tmp_path / "out" / name).read_text() for name in ("index.html", "report.md"))):
        assert text.count("Modalities and baselines on test") == 1
        assert "transcript look-up" in text
        assert "audio alone" in text
        assert "50% of the transcripts stand in train" in text
    assert shown.splitlines()[-1].startswith("test wa=")


def test_nothing_to_stand_beside(run_folder, tmp_path):
    assert report.write(run_folder, tmp_path / "out", resamples=0).baselines == []
    assert "baselines" not in (tmp_path / "out/report.md").read_text()
    write_subsets(run_folder, "valid", audio={"wa": 0.3})  # of another split
    assert report.write(run_folder, tmp_path / "out", resamples=0).baselines == []


def test_subsets_of_another_checkpoint_are_found_out(with_baselines):
    values = runs.read(with_baselines).summaries[0].values
    write_subsets(with_baselines, **{"audio+text": {"wa": values["wa"] + 0.01}})
    assert runs.contradictions(runs.read(with_baselines)) == [
        f"subsets.json of test has wa {values['wa'] + 0.01:.4f} of all modalities, the predictions {values['wa']:.4f}"
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"split": "test"}', '{"split": "test", "subsets": {"audio": 1}}'])
def test_damaged_subsets_are_named(run_folder, text):
    write_subsets(run_folder)
    (run_folder / "subsets/subsets.json").write_text(text)
    with pytest.raises(MMFairseqError, match=r"subsets\.json: not the results of mm-fairseq validate-subsets"):
        runs.read(run_folder)


@pytest.mark.parametrize("entry", [1, {}, {"metrics": {"wa": "much"}}, {"metrics": {}, "known": "all"}])
def test_damaged_baselines_are_named(run_folder, record, entry):
    (run_folder / "test/results.json").write_text(json.dumps(record | {"baselines": {"majority": entry}}))
    with pytest.raises(MMFairseqError, match=r"results\.json: not the results of fairseq-validate"):
        runs.read(run_folder)


def test_a_run_of_unknown_modalities(with_baselines):
    run = runs.read(with_baselines)
    table = baselines.table("mine", (), run.summaries, run.record.baselines, run.subsets)
    assert table.rows[0][0] == "mine"
