"""The command: options arrive, the summary is printed, errors are one line."""

import json

import numpy as np
import soundfile

from mm_fairseq.cli import main
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.targets import Target, write_targets


def test_options_and_summary(tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    rows = [Utterance("a", "train", audio="a.wav"), Utterance("b", "test", audio="b.wav")]
    Manifest(tmp_path, ["emotion"], rows).write(tmp_path / "manifest.tsv")
    write_targets(tmp_path / "targets.json", [Target("emotion", "single", ("sad", "glad"))])
    command = ["binarize", str(tmp_path), str(tmp_path / "bin"), "--workers", "1"]
    assert main([*command, "--fps", "2.5", "--shard-size", "1", "--modalities", "audio,text", "--faces", "none"]) == 0
    out = capsys.readouterr().out
    assert "2 utterances: 1 ok, 0 repaired, 1 quarantined" in out
    assert "quarantined b: audio: missing_file" in out
    meta = json.loads((tmp_path / "bin/meta.json").read_text())
    assert (meta["fps"], meta["shard_size"], meta["faces"], meta["complete"]) == (2.5, 1, "none", True)
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
