"""What a run says of itself: results.json, its log, and what does not fit together."""

import json

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.report import runs


def test_a_run_folder_is_read_whole(run_folder):
    run = runs.read(run_folder)
    assert (run.name, run.splits, run.record.fold, run.record.seed) == ("run", ["test"], "2", "7")
    assert run.record.data_bin == "data-bin"
    assert run.curves.values["wa"]["valid"] == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4})
    assert dict(runs.provenance(run))["versions"] == "fairseq 0.12.3.1, torch 2.11.0"
    assert runs.contradictions(run) == []


def test_the_file_alone_finds_its_run(run_folder):
    run = runs.read(run_folder / "test/predictions.jsonl")
    assert (run.name, run.record.arch, run.curves.selects) == ("run", "ssl_fusion", "wa")


def test_foreign_files_have_no_record_and_no_curves(write_lines, line):
    run = runs.read(write_lines([line(1)], "other.jsonl"), "mine")
    assert (run.name, run.records, run.curves.values, list(runs.provenance(run))) == ("mine", {}, {}, [])
    assert run.record.data_bin == ""


def test_record_with_nothing_in_it(tmp_path):
    (tmp_path / "results.json").write_text("{}", encoding="utf-8")
    assert runs.read_record(tmp_path / "results.json") == runs.Record()


@pytest.mark.parametrize("text", ["[1]", "{", '{"fold": [1]}', '{"versions": [1]}', '{"utterances": "many"}'])
def test_damaged_record_is_named(tmp_path, text):
    (tmp_path / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(MMFairseqError, match=r"results.json: not the results of fairseq-validate"):
        runs.read_record(tmp_path / "results.json")


def test_files_of_two_runs_are_found_out(run_folder, record):
    values = runs.read(run_folder).summaries[0].values
    wrong = record | {"utterances": 61, "metrics": {"wa": values["wa"] + 0.01, "ua": values["ua"], "mf1": None}}
    (run_folder / "test/results.json").write_text(json.dumps(wrong), encoding="utf-8")
    assert runs.contradictions(runs.read(run_folder)) == [
        "results.json of test counts 61 utterances, the predictions 60",
        f"results.json of test has wa {values['wa'] + 0.01:.4f}, the predictions {values['wa']:.4f}",
    ]
