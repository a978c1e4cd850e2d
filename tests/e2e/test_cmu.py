"""The recipes of cmu_mosi and cmu_mosei, run as their pages print them, for a few updates."""

import re

import pytest
from commands import predictions, recipe

from mm_fairseq.toy import cmu_mosei, cmu_mosi

LAST_LINE = re.compile(r"^test mae=\d\.\d{3} .*\bacc2_has0=[01]\.\d{3} acc2_non0=[01]\.\d{3}")


@pytest.mark.slow
def test_sentiment_from_a_feature_file_to_the_test_line(tmp_path):
    cmu_mosi.write(tmp_path / "raw", 30, 1, "features")
    file = tmp_path / "raw/Processed/unaligned_50.pkl"
    output = recipe("cmu_mosi", file, tmp_path / "out", "--accept-counts", "--", "--layers", "1", "--max-update", "4")
    assert LAST_LINE.match(output.rstrip().splitlines()[-1]), output[-500:]
    rows = predictions(tmp_path / "out/audio_text_video/test")
    assert len(rows) == 6
    assert {tuple(row["modalities"]) for row in rows} == {("audio", "text", "video")}


@pytest.mark.slow
def test_emotions_from_the_raw_release_to_the_test_line(tmp_path, checkpoints):
    cmu_mosei.write(tmp_path / "raw", cmu_mosei.MINIMUM, 1)
    words = ["--wav2vec", checkpoints / "wav2vec/wav2vec_args.pt", "--roberta", checkpoints / "roberta_args"]
    words += ["--fabnet", checkpoints / "fabnet/fabnet.pt", "--target", "emotions", "--accept-counts"]
    short = ["--", "--max-update", "4", "--total-num-update", "4", "--warmup-updates", "1"]
    output = recipe("cmu_mosei", tmp_path / "raw", tmp_path / "out", *words, *short)
    assert re.match(r"^test map=[01]\.\d{3}", output.rstrip().splitlines()[-1]), output[-500:]
    assert len(predictions(tmp_path / "out/emotions/test")) == 6
