"""`mm-fairseq inspect`: what files hold, from our own code's forms to hostile ones, with nothing run."""

import json
import pickle
from argparse import Namespace

import hostile_files
import numpy as np
import pytest
import torch
from hf_folders import text_folder
from omegaconf import OmegaConf
from safetensors.numpy import save_file

from mm_fairseq import cli
from mm_fairseq.untrusted.description import describe


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint(tmp_path, capsys, zipped):
    path = tmp_path / "model.pt"
    options = OmegaConf.create({"_name": "wav2vec", "layers": [1, 2.5, True, None, "x"]})
    state = {
        "args": Namespace(arch="wav2vec", dropout=0.1),
        "cfg": {"model": options},
        "model": {"w": torch.ones(2, 3), "b": torch.ones(4).half(), "p": torch.nn.Parameter(torch.ones(5))},
        "loss": np.float64(1.5),
    }
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    about = describe(path)
    assert about["verdict"] == "loads as data"
    assert about["type"].startswith("torch archive" if zipped else "torch pickles")
    assert about["content"]["args"] == {"arch": "wav2vec", "dropout": 0.1}
    assert about["content"]["cfg"]["model"] == {"_name": "wav2vec", "layers": [1, 2.5, True, None, "x"]}
    weights = {"model.w": "float32 (2, 3)", "model.b": "float16 (4,)", "model.p": "float32 (5,)"}
    assert about["weights"] == weights
    assert about["globals"]["argparse.Namespace"] == "plain"
    assert cli.main(["inspect", str(path)]) == 0
    told = capsys.readouterr().out
    for words in ("loads as data", "arch: ", "model: 3 weights", "3 weights, 15 numbers", "float16 (4,)"):
        assert words in told
    assert cli.main(["inspect", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == about


def test_long_lists_are_cut_unless_asked(tmp_path, capsys):
    torch.save({f"w{n}": torch.ones(1) for n in range(100)}, tmp_path / "many.pt")
    assert cli.main(["inspect", str(tmp_path / "many.pt")]) == 0
    assert "60 more (--all, --json)" in capsys.readouterr().out
    assert cli.main(["inspect", "--all", str(tmp_path / "many.pt")]) == 0
    assert "w99  float32 (1,)" in capsys.readouterr().out


def test_arrays_and_safetensors(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.int16))
    np.savez(tmp_path / "b.npz", x=np.zeros(4), y=np.zeros((1, 2), np.float32))
    save_file({"w": np.zeros((2, 3), np.float32)}, tmp_path / "c.safetensors", {"by": "me"})
    npy, npz, tensors = (describe(tmp_path / name) for name in ("a.npy", "b.npz", "c.safetensors"))
    assert npy["weights"] == {"": "int16 (2, 3)"}
    assert npz["weights"] == {"x": "float64 (4,)", "y": "float32 (1, 2)"}
    assert tensors["weights"] == {"w": "F32 (2, 3)"}
    assert tensors["content"] == {"metadata": {"by": "me"}}
    assert {each["verdict"] for each in (npy, npz, tensors)} == {"loads as data"}


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_arrays_of_objects_are_told(tmp_path, name):
    trap = np.array([hostile_files.GADGETS["os.system"]], object)
    (np.save if name.endswith("y") else np.savez)(tmp_path / name, trap)
    assert "objects" in describe(tmp_path / name)["verdict"]


def test_hostile_files_are_told_and_not_run(tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    files = hostile_files.checkpoints(tmp_path)
    (tmp_path / "options").mkdir()
    files |= hostile_files.options(tmp_path / "options")
    about = {trick: describe(path) for trick, path in files.items()}
    loaded = [trick for trick, each in about.items() if not each["verdict"].startswith("refused")]
    assert loaded == ["a bomb of old"]  # told as a bare pickle
    assert about["a bomb of old"]["verdict"] == "nothing here loads such a file"
    assert about["os.system, zip"]["globals"]["posix.system"] == "refused"
    assert about["thrown away"]["globals"] == {"os.system": "refused"}
    assert "which fairseq would run as a program" in about["adam_betas in cfg"]["verdict"]
    assert cli.main(["inspect", *map(str, files.values())]) == 1
    assert "! posix.system" in capsys.readouterr().out
    assert list(here.iterdir()) == []


def test_no_hostile_file_ends_the_command(tmp_path, monkeypatch, capsys):
    files = {}
    for make in (hostile_files.arrays, hostile_files.folders):
        (tmp_path / make.__name__).mkdir()
        files |= make(tmp_path / make.__name__)
    bomb = "objects of nothing"
    for name, raw in (hostile_files.RAW | {bomb: hostile_files.BOMBS[bomb]}).items():
        files[f"{name}, bare"] = tmp_path / f"{len(files)}.pkl"
        files[f"{name}, bare"].write_bytes(raw)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert cli.main(["inspect", "--all", *map(str, files.values())]) == 1
    told = capsys.readouterr().out
    assert all(str(path) in told for path in files.values())
    assert list((tmp_path / "here").iterdir()) == []
    for trick in hostile_files.arrays(tmp_path):
        assert describe(files[trick])["verdict"].startswith("refused"), trick
    assert "32 bytes of numbers are promised, 0 are there" in describe(files["numbers that are not there"])["verdict"]


def test_of_a_large_file_the_beginning_is_read(tmp_path, monkeypatch):
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**33, 4)})
        file.truncate(file.tell() + 2**37)
    assert describe(tmp_path / "a.npy")["verdict"] == "loads as data"


def test_a_bare_pickle(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": hostile_files.GADGETS["os.system"], "b": [1]}, 4))
    about = describe(tmp_path / "a.pkl")
    assert about["globals"] == {"posix.system": "refused"}
    assert about["content"]["b"] == [1]
    assert about["content"]["a"]["made by"] == "posix.system"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"text", "first bytes are those of no form that is known here: torch (zip archive or pickle), npy, npz"),
        (bytes(range(256)), "first bytes are those of no form that is known here"),
        (b"PK\x03\x04 cut", "cut short or damaged"),
    ],
)
def test_what_is_no_checkpoint(tmp_path, content, words):
    (tmp_path / "b.pt").write_bytes(content)
    verdict = describe(tmp_path / "b.pt")["verdict"]
    assert verdict.startswith("refused: ")
    assert words in verdict


def test_folders_of_hugging_face(tmp_path, capsys):
    text_folder(tmp_path / "model", "bert")
    (tmp_path / "model" / "modeling.py").write_text("open('owned', 'w')")
    about = describe(tmp_path / "model")
    assert about["type"] == "folder of Hugging Face"
    assert about["content"]["model_type"]
    assert about["code"] == ["modeling.py"]
    assert all(each["weights"] for each in about["files"])
    assert cli.main(["inspect", str(tmp_path / "model")]) == 0
    assert "modeling.py (never run)" in capsys.readouterr().out


def test_a_folder_without_weights(tmp_path, capsys):
    assert cli.main(["inspect", str(tmp_path)]) == 1
    assert "verdict  no file of weights in this folder (*.safetensors, *.bin, *.pt)" in capsys.readouterr().out


def test_words_to_the_terminal_do_not_reach_it(tmp_path, capsys):
    torch.save({"\x1b[2J": torch.ones(1), "b": "\x1b]0;x\x07"}, tmp_path / "a.pt")
    cli.main(["inspect", str(tmp_path / "a.pt")])
    assert "\x1b" not in capsys.readouterr().out


def test_no_such_file(tmp_path, capsys):
    assert cli.main(["inspect", str(tmp_path / "none.pt")]) == 2
    assert "none.pt: no such file" in capsys.readouterr().err


def test_lists_that_are_one_list_a_million_times(tmp_path):
    tree = ["x"]
    for _ in range(40):
        tree = [tree] * 10
    torch.save({"a": tree}, tmp_path / "a.pt")
    assert len(json.dumps(describe(tmp_path / "a.pt"))) < 10_000_000
