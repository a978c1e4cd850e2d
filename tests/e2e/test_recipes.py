"""The recipes under examples/, run as their pages print them, on small corpora and for a few updates."""

import csv
import re

import pytest
from commands import predictions, recipe

from mm_fairseq.toy import iemocap

LAST_LINE = re.compile(r"^test wa=0\.\d{3} ua=0\.\d{3} wf1=0\.\d{3} mf1=0\.\d{3}$|^test wa=1\.000")
SHORT = ["--", "--max-update", "4", "--total-num-update", "4", "--warmup-updates", "1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "raw"
    iemocap.write(folder, utterances=40, seed=3)
    return folder


def test_own_table_in_a_language_without_transcripts(corpus, tmp_path):
    wavs = sorted(corpus.glob("Session*/sentences/wav/*/*.wav"))
    with open(tmp_path / "list.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Datei", "Wortlaut", "Sprecherin", "Gefühl"])
        for number, wav in enumerate(wavs):
            writer.writerow([wav.relative_to(corpus), "", wav.stem[:5] + wav.stem[-4], ("froh", "müde")[number % 2]])
    columns = "audio=Datei,text=Wortlaut,speaker=Sprecherin"
    options = ["--columns", columns, "--target", "emotion=Gefühl", "--root", corpus]
    output = recipe("own_table", tmp_path / "list.csv", tmp_path / "out", *options, *SHORT)
    assert LAST_LINE.match(output.rstrip().splitlines()[-1]), output[-500:]
    rows = predictions(tmp_path / "out" / "run" / "test")
    assert {row["target"] for row in rows} == {"froh", "müde"}
    assert {tuple(row["modalities"]) for row in rows} == {("audio",)}


def test_iemocap_from_raw_corpus_to_test_line(corpus, checkpoints, tmp_path):
    pretrained = ["--wav2vec", checkpoints / "wav2vec/wav2vec_args.pt", "--roberta", checkpoints / "roberta_args"]
    pretrained += ["--fabnet", checkpoints / "fabnet/fabnet.pt", "--fold", "2", "--accept-counts"]
    output = recipe("iemocap", corpus, tmp_path / "out", *pretrained, *SHORT, "--patience", "1", "--max-epoch", "1")
    assert LAST_LINE.match(output.rstrip().splitlines()[-1]), output[-500:]
    rows = predictions(tmp_path / "out" / "fold2" / "test")
    assert {row["session"] for row in rows} == {"Session2"}
    assert {tuple(row["modalities"]) for row in rows} == {("audio", "text", "video")}


def test_joint_fine_tuning_from_raw_corpus_to_test_line(corpus, checkpoints, tmp_path):
    pretrained = ["--vq", checkpoints / "vq_wav2vec/vq-wav2vec_kmeans.pt", "--bert", checkpoints / "bert_kmeans"]
    pretrained += ["--roberta", checkpoints / "roberta_args", "--accept-counts"]
    output = recipe("semiemo", corpus, tmp_path / "out", *pretrained, *SHORT, "--max-epoch", "1", "--stack-up")
    assert LAST_LINE.match(output.rstrip().splitlines()[-1]), output[-500:]
    assert "cached features, audio@vq_wav2vec" in (tmp_path / "out/fold1/train.log").read_text()
    rows = predictions(tmp_path / "out" / "fold1" / "test")
    assert {tuple(row["modalities"]) for row in rows} == {("audio", "text")}
