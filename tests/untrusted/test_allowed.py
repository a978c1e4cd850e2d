"""What honest files hold passes; whatever the bytes, the answer is a result or one kind of error."""

import gc
import random
import time
from argparse import Namespace

import hostile_files
import numpy as np
import pytest
import torch
from fairseq.data.dictionary import Dictionary
from omegaconf import OmegaConf
from test_fairseq_compat import STATES, saved

from mm_fairseq import untrusted
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.untrusted import machine
from mm_fairseq.untrusted import saved as files

HONEST = {
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "half": torch.ones(2).half(),
    "bfloat16": torch.ones(2).bfloat16(),
    "complex": torch.ones(2, dtype=torch.complex64),
    "bool": torch.ones(2).bool(),
    "expanded": torch.ones(1).expand(5),
    "transposed": torch.ones(3, 4).t(),
    "view": torch.arange(10)[2:5],
    "empty": torch.ones(0, 3),
    "one": torch.tensor(1.0),
    "layer": torch.nn.Linear(2, 2).state_dict(),
    "optimizer": torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]).state_dict(),
    "random state": torch.get_rng_state(),
    "size": torch.Size([1, 2]),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "bytes": b"abc\xff",
    "bytearray": bytearray(b"abc"),
    "set": {1, 2},
    "large number": 1 << 80,
    "long text": "x" * 100_000,
    "numpy": [np.zeros((2, 3), np.float16), np.arange(3, dtype=">i4"), np.bool_(True)],
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", HONEST)
def test_honest_values_pass(tmp_path, name, zipped):
    torch.save({"x": HONEST[name]}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert untrusted.check(tmp_path / "a.pt").tree.keys() == {"x"}


@pytest.mark.parametrize("name", STATES)
def test_what_checkpoints_of_fairseq_hold_passes(tmp_path, name):
    value, rename = STATES[name]
    (tmp_path / "old.pt").write_bytes(saved({"extra": value}, rename))
    torch.save({"extra": value}, tmp_path / "new.pt")
    for path in (tmp_path / "old.pt", tmp_path / "new.pt"):
        untrusted.check(path)
        assert set(untrusted.read_checkpoint(path)) == {"extra"}


def test_toy_checkpoints_pass(checkpoints):
    found = [*checkpoints.rglob("*.pt"), *checkpoints.rglob("*.pth")]
    assert len(found) > 5
    for path in found:
        untrusted.check(path)


def test_names_and_made_are_told_whether_they_are_kept_or_not(tmp_path):
    path = hostile_files.archive(tmp_path / "a.pt", hostile_files.RAW["thrown away"])
    found = files.read_saved(path)
    assert found.names == ["os.system"]
    assert [str(made.name) for made in found.made] == ["os.system"]
    assert found.tree == {}


@pytest.mark.parametrize("raw", [b"\x80\x02(K\x01.", b"\x80\x02K\x01K\x02."])
def test_values_left_over_are_damage(raw):
    with pytest.raises(MMFairseqError, match="damaged"):
        machine.TorchMachine(raw, "x").run()


@pytest.mark.parametrize("zipped", [True, False])
def test_any_damage_is_a_result_or_the_declared_error(tmp_path, zipped):
    state = {
        "args": Namespace(a=1, b="text"),
        "cfg": OmegaConf.create({"model": {"layers": [1, 2.5, True, None, "x"]}}),
        "model": {"w": torch.ones(3, 2), "n": np.arange(4.0)},
    }
    path = tmp_path / "a.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    whole, rng = path.read_bytes(), random.Random(1)
    slowest, refused = 0.0, 0
    for _ in range(300):
        raw = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        path.write_bytes(raw[: rng.randrange(len(raw))] if rng.random() < 0.3 else raw)
        start = time.process_time()
        try:
            untrusted.check(path)
        except MMFairseqError:
            refused += 1
        slowest = max(slowest, time.process_time() - start)
    assert refused > 100
    assert slowest < 10


def test_a_dictionary_of_many_symbols_is_read(tmp_path):
    words = Dictionary()
    for n in range(250_000):
        words.add_symbol(f"w{n}", n=n * 7)
    torch.save({"words": words}, tmp_path / "a.pt")
    assert "fairseq.data.dictionary.Dictionary" in untrusted.check(tmp_path / "a.pt").names


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_is_left_as_it_was(collects):
    (gc.enable if collects else gc.disable)()
    try:
        assert machine.TorchMachine(b"\x80\x02N.", "x").run() is None
        with pytest.raises(MMFairseqError):
            machine.TorchMachine(b"\x80\x02h", "x").run()
        assert gc.isenabled() == collects
    finally:
        gc.enable()
