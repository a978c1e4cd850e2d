"""Joint fine-tuning by the original's command line: RoBERTa on text, the BERT over vq-wav2vec's codes on audio."""

import shutil

import pytest
import torch
from commands import TASK, USER_DIR, metrics, predictions, run, start

ORIGINAL = """--restore-file None --task emotion_prediction --reset-optimizer --reset-dataloader --reset-meters
--init-token 0 --separator-token 2 --arch semiemo --criterion emotion_prediction_cri --num-classes 8 --dropout 0.1
--attention-dropout 0.1 --weight-decay 0.1 --optimizer adam --adam-betas (0.9,0.98) --adam-eps 1e-06 --clip-norm 0.0
--lr-scheduler polynomial_decay --lr 1e-05 --total-num-update 2760 --warmup-updates 165 --max-epoch 10
--best-checkpoint-metric loss --encoder-attention-heads 2 --batch-size 1 --encoder-layers-cross 1
--no-epoch-checkpoints --update-freq 8 --find-unused-parameters --ddp-backend=no_c10d --binary-target-iemocap
--a-only --t-only --pooler-dropout 0.1 --log-interval 1 --data-raw /elsewhere/iemocap_data/"""
QUICK = ["--lr", 0.001, "--warmup-updates", 1, "--max-epoch", 1, "--log-format", "json"]
AUDIO = "backbones.encoders.audio."


@pytest.fixture
def pretrained(checkpoints, tmp_path):
    """A copy of the files of both models, to be taken away."""
    for name in ("vq_wav2vec", "bert_kmeans", "roberta_args"):
        shutil.copytree(checkpoints / name, tmp_path / "pretrained" / name)
    return tmp_path / "pretrained"


def train(data, pretrained, save, *options, processes=1, begin=run):
    audio = f"vq_bert:{pretrained}/bert_kmeans,vq={pretrained}/vq_wav2vec/vq-wav2vec_kmeans.pt"
    backbones = ["--audio-backbone", audio, "--text-backbone", f"roberta:{pretrained}/roberta_args"]
    common = ["--user-dir", USER_DIR, "--save-dir", save, *ORIGINAL.split(), *QUICK, *backbones]
    return begin("fairseq-train", data, *common, *options, processes=processes)


def weights_of(save):
    return torch.load(save / "checkpoint_last.pt", weights_only=True)


@pytest.mark.parametrize(("options", "processes"), [([], 1), (["--stack-up"], 2)])
def test_the_originals_command_line_trains_both_models(roberta_data_bin, pretrained, tmp_path, options, processes):
    log = train(roberta_data_bin, pretrained, tmp_path / "run", *options, processes=processes)
    assert metrics(log, "valid")["num_updates"] == (3 if processes == 1 else 2)
    state = weights_of(tmp_path / "run")
    entries = state["cfg"]["model"]["backbone_args"]
    assert {name: (entry["name"], entry["frozen"]) for name, entry in entries.items()} == {
        "audio": ("vq_bert", False),
        "text": ("roberta", False),
    }
    assert any(name.startswith("fusion.cross.audio_from_text.0") for name in state["model"]) == (
        "--stack-up" in options
    )
    codes = torch.load(pretrained / "vq_wav2vec" / "vq-wav2vec_kmeans.pt", weights_only=True)["model"]
    bert = torch.load(pretrained / "bert_kmeans" / "bert_kmeans.pt", weights_only=True)["model"]
    kept = {key: value for key, value in state["model"].items() if key.startswith(f"{AUDIO}vq.")}
    assert kept
    for key, value in kept.items():
        assert torch.equal(value, codes[key.removeprefix(f"{AUDIO}vq.")]), key
    learnt = next(
        value for key, value in state["model"].items() if AUDIO in key and key.endswith("embed_tokens.weight")
    )
    before = next(value for key, value in bert.items() if key.endswith("embed_tokens.weight"))
    assert not torch.equal(learnt, before)

    shutil.rmtree(pretrained)
    validate = [*TASK, "--path", tmp_path / "run" / "checkpoint_best.pt", "--valid-subset", "test"]
    log = run("fairseq-validate", roberta_data_bin, *validate, "--batch-size", 4, "--results-path", tmp_path / "out")
    rows = predictions(tmp_path / "out" / "test")
    assert len(rows) == 8
    assert {tuple(row["modalities"]) for row in rows} == {("audio", "text")}


def test_codes_may_be_cached_while_the_bert_learns(roberta_data_bin, pretrained, tmp_path):
    data = shutil.copytree(roberta_data_bin, tmp_path / "data-bin")
    codes = f"audio=vq_wav2vec:{pretrained}/vq_wav2vec/vq-wav2vec_kmeans.pt"
    run("mm-fairseq", "extract", data, "--backbone", codes, "--workers", 1)
    jobs = {
        source: train(data, pretrained, tmp_path / source, "--backbone-source", source, begin=start)
        for source in ("raw", "cached")
    }
    logs = {source: finish() for source, finish in jobs.items()}
    assert "cached features, audio@vq_wav2vec" in logs["cached"]
    assert "cached features" not in logs["raw"]
    states = [weights_of(tmp_path / source)["model"] for source in jobs]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, msg=name)
