"""Lists as the original trimodal system published them for IEMOCAP: all 518 validation items lie in the test set."""

import json

import pytest

from mm_fairseq.cli import main
from mm_fairseq.manifest import Manifest
from mm_fairseq.preprocessing.prepared import Prepared

SESSIONS = (1085, 1023, 1151, 1031, 1241)
LEAKED = 518
SUFFIXES = {"a": ".wav", "t": ".txt", "v": ".mp4"}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder of lists: four sessions in train, the fifth in test, and part of the fifth again in valid."""
    folder = tmp_path_factory.mktemp("lists")
    media = folder / "media"
    media.mkdir()
    names = [
        f"Ses0{session}{'FM'[n % 2]}_made{n // 40:02d}_{'MF'[n % 3 % 2]}{n % 40:03d}"
        for session, count in enumerate(SESSIONS, start=1)
        for n in range(count)
    ]
    assert len(set(names)) == 5531
    test = names[-SESSIONS[-1] :]
    splits = {"train": names[: -len(test)], "valid": test[1 : 2 * LEAKED : 2], "test": test}
    for split, stems in splits.items():
        for letter, suffix in SUFFIXES.items():
            for stem in stems:
                (media / (stem + suffix)).write_text(stem + suffix)
            lines = [str(media), *(stem + suffix for stem in stems)]
            (folder / f"{split}_{letter}.tsv").write_text("\n".join(lines) + "\n")
        rows = [f"{stem}.wav,{names.index(stem) % 4}" for stem in stems]
        (folder / f"label_file_{split}.csv").write_text("\n".join(["FileName,Emotion", *rows]) + "\n")
    return folder, splits


def test_validation_items_inside_the_test_set_are_a_leak(published, tmp_path, capsys):
    folder, splits = published
    out = tmp_path / "out"
    assert main(["prepare", "lists", str(folder), str(out), "--classes", "iemocap"]) == 1
    error = capsys.readouterr().err
    assert "518 of the 1241 utterances of test are in valid too: " in error
    assert f"test/{splits['valid'][0]}" in error
    assert "--accept-leaks" in error
    assert not out.exists()


def test_accepted_they_are_noted_and_the_folder_is_of_use(published, tmp_path, capsys):
    folder, splits = published
    out = tmp_path / "out"
    assert main(["prepare", "lists", str(folder), str(out), "--classes", "iemocap", "--accept-leaks"]) == 0
    told = "accepted leak: protocol 'official', fold '1': 518 of the 1241 utterances of test are in valid too"
    assert told in capsys.readouterr().out
    assert any(note.startswith(told) for note in json.loads((out / "account.json").read_text())["notes"])
    audit = json.loads((out / "audit.json").read_text())
    assert audit["accepted"]
    found = {(*each["splits"], each["what"]): each for each in audit["overlaps"]}
    assert found["valid", "test", "utterances"]["items"] == [518, 518]
    assert not any(split == "train" and each["leak"] for (split, *_), each in found.items())
    prepared = Prepared.read(out)
    sizes = {split: len(rows) for (_, _, split), rows in prepared.splits.items()}
    assert sizes == {split: len(stems) for split, stems in splits.items()}
    rows = {row.id: row for row in Manifest.read(out / "manifest.tsv").utterances}
    name = splits["valid"][0]
    assert rows[f"valid/{name}"].audio == rows[f"test/{name}"].audio == f"{name}.wav"
