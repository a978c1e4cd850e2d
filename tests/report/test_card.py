"""The model card: YAML that the Hub understands, and no path of the machine it was made on."""

import pytest
import yaml

from mm_fairseq import report
from mm_fairseq.report import card


@pytest.fixture
def written(run_folder, tmp_path):
    made = report.write(run_folder, tmp_path / "out", resamples=50)
    return made, (tmp_path / "out/model_card.md").read_text("utf-8")


def front(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_front_matter_is_a_model_index(written):
    made, text = written
    data = front(text)
    assert data["tags"] == ["mm-fairseq", "ssl_fusion", "audio", "text", "emotion"]
    assert data["pipeline_tag"] == "audio-classification"
    (model,) = data["model-index"]
    (result,) = model["results"]
    assert model["name"] == "run"
    assert result["task"] == {"type": "audio-classification", "name": "emotion (single)"}
    assert result["dataset"] == {
        "type": "data-bin",
        "name": "data-bin",
        "split": "test",
        "args": {"protocol": "leave_one_session_out", "fold": "2", "sha256": "9f86d081884c7d65"},
    }
    summary, intervals = made.sections[0].summary, made.sections[0].intervals
    assert {each["name"]: each["value"] for each in result["metrics"]} == pytest.approx(
        {name: summary.values[name] for name in summary.headline}, abs=1e-6
    )
    assert result["metrics"][0]["type"] == "accuracy"
    assert result["metrics"][0]["args"]["interval_95"] == pytest.approx(list(intervals["wa"]), abs=1e-6)


def test_the_hub_reads_it(written):
    hub = pytest.importorskip("huggingface_hub")
    results = hub.ModelCard(written[1]).data.eval_results
    assert {result.metric_name for result in results} == {"wa", "ua", "wf1", "mf1", "map", "auc", "ece"}
    assert {result.dataset_split for result in results} == {"test"}


def test_text_names_weakest_class_and_command_without_folders(written):
    made, text = written
    summary = made.sections[0].summary
    recall = summary.matrix.diagonal() / summary.matrix.sum(1)
    assert f"the class found least is {summary.classes[recall.argmin()]}, with a recall of {recall.min():.3f}" in text
    assert "fairseq-train data-bin --arch ssl_fusion" in text
    assert "/home" not in text


@pytest.mark.parametrize("kind", ["binary_each", "multilabel", "regression"])
def test_every_kind_and_foreign_files(write_lines, random_lines, tmp_path, kind):
    report.write(write_lines(random_lines(kind)), tmp_path / "out", name="mine: a #1", resamples=0)
    text = (tmp_path / "out/model_card.md").read_text("utf-8")
    data = front(text)
    assert data["model-index"][0]["name"] == "mine: a #1"
    assert data["model-index"][0]["results"][0]["metrics"]
    assert "was not recorded" in text


def test_nothing_labelled_is_no_result(write_lines, random_lines, tmp_path):
    made = report.write(write_lines(random_lines(target=None)), tmp_path / "out", resamples=50)
    assert card.metadata(made)["model-index"][0]["results"] == []
