"""G9: our checkpoints hold plain types alone; what others hide in theirs is refused, with a reason, and never runs."""

import contextlib
import logging
import pickle
import subprocess
import sys
import time
import zipfile

import hostile_files
import numpy as np
import pytest
import torch
from commands import TASK, TRAIN, run, together
from fairseq import checkpoint_utils
from omegaconf import OmegaConf
from trainings import train
from yaml import YAMLError

from mm_fairseq import untrusted
from mm_fairseq.backbones import _hf
from mm_fairseq.corpora.pickles import read_pickle
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.media.features import read_features

SECONDS = 2.0  # what is promised
SMALL = ["--arch", "ssl_fusion", "--modalities", "audio,text", "--encoder-layers", 1, "--encoder-layers-cross", 1]
SMALL += ["--embed-dim", 16, "--encoder-ffn-embed-dim", 32, "--no-epoch-checkpoints", "--batch-size", 8]


@contextlib.contextmanager
def torchs_own_types():
    """Without the types that the package adds to those that torch loads."""
    kept = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        yield
    finally:
        torch.serialization.add_safe_globals(kept)


def refusals(files, load, errors=MMFairseqError):
    """Load each file; {trick: reason}. Each is refused in time, names itself, and leaves no trace in the folder."""
    reasons = {}
    for trick, path in files.items():
        best = float("inf")
        for _ in range(3):  # in processor time, and again: other programs on the machine slow this one down
            start = time.process_time()
            with pytest.raises(errors) as error:
                pytest.fail(f"loaded {trick}: {load(path)}")
            best = min(best, time.process_time() - start)
            if best < SECONDS:
                break
        assert best < SECONDS, trick
        reasons[trick] = str(error.value)
    return reasons


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A folder for files, beside the one that this process stands in, which must stay empty."""
    here, files = tmp_path / "here", tmp_path / "files"
    here.mkdir()
    files.mkdir()
    monkeypatch.chdir(here)
    yield files
    assert list(here.iterdir()) == []
    assert "antigravity" not in sys.modules


def load_with_fairseq(path):
    return checkpoint_utils.load_checkpoint_to_cpu(str(path))


@pytest.mark.parametrize("gadget", hostile_files.LIVE)
def test_the_traps_are_live(tmp_path, monkeypatch, gadget):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(hostile_files.GADGETS[gadget]))
    assert (tmp_path / "owned").exists()


@pytest.mark.parametrize("load", [untrusted.read_checkpoint, load_with_fairseq], ids=["backbones", "fairseq"])
def test_hostile_checkpoints(trap, load):
    files = hostile_files.checkpoints(trap)
    reasons = refusals(files, load)
    assert len(files) > 80
    for trick, path in files.items():
        assert path.name in reasons[trick]
    for gadget in ("os.system", "eval", "np.load", "torch.hub.load"):
        for form in ("zip", "legacy"):
            assert "more than plain types (" in reasons[f"{gadget}, {form}"]
            assert "--allow-unsafe-checkpoints" in reasons[f"{gadget}, {form}"]


def test_hostile_options(trap):
    files = hostile_files.options(trap)
    reasons = refusals(files, load_with_fairseq)
    assert len(files) > 40
    for name in untrusted.EVALUATED:
        assert f"option model.{name} is" in reasons[f"{name} in cfg"]
        assert "would run as a program; allowed is" in reasons[f"{name} in cfg"]


def test_hostile_folders(trap, tmp_path):
    transformers = _hf.library()
    transformers.AutoModel.from_config  # noqa: B018 (the time of its import is not that of the check)
    with contextlib.suppress(MMFairseqError):
        _hf.read_folder(hostile_files.folders(trap)["an adapter"], ["bert"])
    (tmp_path / "again").mkdir()
    files = hostile_files.folders(tmp_path / "again")
    assert len(files) > 10
    refusals(files, lambda path: _hf.read_folder(path, ["bert"]))


def test_hostile_features(trap):
    files = {}
    for name, gadget in hostile_files.GADGETS.items():
        files[name] = trap / f"{len(files)}.pkl"
        files[name].write_bytes(pickle.dumps({"train": [gadget]}, 4))
    for name, raw in (hostile_files.RAW | hostile_files.BOMBS).items():
        files[f"{name}, by hand"] = trap / f"{len(files)}.pkl"
        files[f"{name}, by hand"].write_bytes(raw)
    for empty in ("deep", "one list made into many"):  # nothing else than an empty list or None is left of these
        del files[f"{empty}, by hand"]
    reasons = refusals(files, read_pickle)
    assert "nothing of it was run" in reasons["os.system"]
    arrays = {"objects": trap / "objects.npz", "bomb": trap / "bomb.npz", "forged": trap / "forged.npz"}
    np.savez(arrays["objects"], a=np.array([[hostile_files.GADGETS["os.system"]]], object))
    for name, shape, size in (("bomb", (2**30, 2), 2**24), ("forged", (2**40, 2), 0)):
        with zipfile.ZipFile(arrays[name], "w", zipfile.ZIP_DEFLATED) as file:
            head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
            file.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(size))
    refusals(arrays, lambda path: read_features(path, "a"))


@pytest.mark.parametrize("text", hostile_files.YAML.values(), ids=hostile_files.YAML)
def test_hostile_yaml(trap, text):
    (trap / "config.yaml").write_text(text)
    refusals({text: trap / "config.yaml"}, OmegaConf.load, YAMLError)


def test_the_one_way_out_is_logged(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    history = {"optimizer_history": [{"optimizer_name": "x", "lr_scheduler_state": {}, "num_updates": 0}]}
    state = {"cfg": {}, "extra_state": {"train_iterator": {"epoch": 1}}, **history}
    torch.save({**state, "x": hostile_files.GADGETS["Path.touch"]}, tmp_path / "foreign.pt")
    with pytest.raises(MMFairseqError, match="--allow-unsafe-checkpoints"):
        load_with_fairseq(tmp_path / "foreign.pt")
    with caplog.at_level(logging.WARNING):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "foreign.pt"), {"allow_unsafe_checkpoints": True})
    assert (tmp_path / "owned").exists()
    assert "--allow-unsafe-checkpoints" in caplog.text
    with pytest.raises(MMFairseqError, match="--allow-unsafe-checkpoints"):
        load_with_fairseq(tmp_path / "foreign.pt")


def test_our_checkpoints_hold_nothing_but_torchs_own_types(data_bin, tmp_path):
    train(data_bin, tmp_path, "--max-update", 1, "--batch-size", 8)
    _assert_plain(tmp_path)


def _assert_plain(folder):
    found = sorted(folder.glob("*.pt"))
    assert found
    for path in found:
        with torchs_own_types():
            assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
        assert untrusted.check(path).kind


WAYS = {
    "adamax": ["--optimizer", "adamax", "--adamax-betas", "(0.9, 0.99)", "--patience", 1],
    "best": ["--best-checkpoint-metric", "wf1", "--maximize-best-checkpoint-metric", "--keep-best-checkpoints", 1],
    "schedule": ["--lr-scheduler", "reduce_lr_on_plateau", "--store-ema", "--ema-decay", 0.9],
    "sgd": ["--optimizer", "sgd", "--lr-scheduler", "polynomial_decay", "--total-num-update", 9],
}


@pytest.mark.parametrize(
    "way", [way if way in ("adamax", "best") else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]
)
def test_so_do_those_of_other_kinds_of_training(data_bin, tmp_path, way):
    train(data_bin, tmp_path, "--max-update", 1, "--batch-size", 8, *WAYS[way])
    _assert_plain(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_commands(data_bin, tmp_path):
    run("fairseq-train", data_bin, *TRAIN, *SMALL, "--max-update", 1, "--save-dir", tmp_path / "own")
    state = torch.load(tmp_path / "own/checkpoint_last.pt", weights_only=True)
    owned = tmp_path / "owned"
    evil = f"__import__('os').system('touch {owned}')"
    torch.save({**state, "x": hostile_files.Call(exec, f"open({str(owned)!r}, 'w')")}, tmp_path / "pickle.pt")
    for name, section, option, value in (
        ("betas", "optimizer", "adam_betas", evil),
        ("layers", "model", "conv_feature_layers", evil),
        ("size", "model", "embed_dim", 2**22),
        ("depth", "model", "encoder_layers", 10**9),
        ("task", "task", "_name", "masked_lm"),
    ):
        kept = state["cfg"][section].get(option)
        state["cfg"][section][option] = value
        torch.save(state, tmp_path / f"{name}.pt")
        state["cfg"][section][option] = kept
    said = {
        "pickle": "more than plain types (exec)",
        "betas": "would run as a program",
        "layers": "would run as a program",
        "size": "ask for a model of more than",
        "depth": "at most 1024",
        "task": "a checkpoint of the task 'masked_lm'",
    }
    for name, words in said.items():
        path = tmp_path / f"{name}.pt"
        validate = ["fairseq-validate", data_bin, *TASK, "--path", path, "--valid-subset", "test", "--batch-size", 8]
        tune = ["fairseq-train", data_bin, *TRAIN, *SMALL, "--max-update", 1, "--finetune-from-model", path]
        runs = [lambda call=validate: run(*call, fails=True)]
        if name in ("pickle", "betas"):
            save = ["--save-dir", tmp_path / f"tuned {name}"]
            runs += [lambda call=(*tune, *save): run(*call, fails=True)]
        for output in together(*runs):
            assert f"error: {path}" in output or name == "size", output[-2000:]
            assert words in output
    assert not owned.exists()
    told = run("mm-fairseq", "inspect", *(tmp_path / f"{name}.pt" for name in said), fails=True)
    assert told.count("refused") >= 4
    assert not owned.exists()


def test_torchs_legacy_files_of_the_hostile_kind_do_load_unchecked(tmp_path, monkeypatch):
    """What would happen without the check: torch takes NumPy's types from the file, flags and all."""
    monkeypatch.chdir(tmp_path)
    path = hostile_files.archive(tmp_path / "forged.pt", hostile_files.forged_numpy())
    program = (
        "import numpy as np, torch\n"
        "core = np._core.multiarray\n"
        "torch.serialization.add_safe_globals([np.dtype, np.ndarray, np.dtypes.ObjectDType, core._reconstruct])\n"
        f"print(torch.load({str(path)!r})['a'])\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode < 0
