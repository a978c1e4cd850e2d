"""Checkpoints are loaded as data; the way out is one flag."""

import logging
import os
from pathlib import Path

import pytest
import torch

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.untrusted import read_checkpoint, unsafe_checkpoints


class Foreign:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def foreign(tmp_path):
    torch.save({"model": {}, "extra": Foreign(tmp_path / "touched")}, tmp_path / "foreign.pt")
    return tmp_path / "foreign.pt"


def test_foreign_types_are_refused_and_the_way_out_is_named(foreign):
    with pytest.raises(MMFairseqError, match=r"foreign\.pt: .*more than plain types.*--allow-unsafe-checkpoints"):
        read_checkpoint(foreign)
    assert not (foreign.parent / "touched").exists()


class Hook:
    """What it is given is called when it is unpickled."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("call", [os.system, eval, Path.touch], ids=["blocked", "builtin", "method"])
def test_what_was_refused_is_named_and_torchs_advice_is_not_passed_on(tmp_path, call):
    torch.save({"trap": Hook(call, str(tmp_path / "sprung"))}, tmp_path / "trap.pt")
    with pytest.raises(MMFairseqError) as error:
        read_checkpoint(tmp_path / "trap.pt")
    name = {os.system: "posix.system", eval: "eval", Path.touch: "getattr"}[call]
    assert f"more than plain types ({name}); if you trust its source, --allow-unsafe-checkpoints" in str(error.value)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"hello world\n" * 50, "no checkpoint: it begins neither as"),
        (bytes(range(256)), "no checkpoint: it begins neither as"),
        (b"PK\x03\x04 cut", "cut short or damaged, or no checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_called_so(tmp_path, content, words):
    (tmp_path / "odd.pt").write_bytes(content)
    with pytest.raises(MMFairseqError, match=rf"odd\.pt: not a readable checkpoint: {words}"):
        read_checkpoint(tmp_path / "odd.pt")


def test_the_way_out_is_logged_and_ends(foreign, caplog):
    with caplog.at_level(logging.WARNING), unsafe_checkpoints(True):
        assert read_checkpoint(foreign)["model"] == {}
    assert (foreign.parent / "touched").exists()
    assert "--allow-unsafe-checkpoints" in caplog.text
    with pytest.raises(MMFairseqError, match="plain types"):
        read_checkpoint(foreign)


def test_nothing_is_logged_unasked(foreign, caplog):
    with caplog.at_level(logging.DEBUG), unsafe_checkpoints(False), pytest.raises(MMFairseqError):
        read_checkpoint(foreign)
    assert caplog.text == ""
