"""What finished work leaves."""

import hashlib

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.evaluation import receipts


def test_round_trip(tmp_path):
    assert receipts.read(tmp_path) == {}
    receipts.write(tmp_path, {"trained": True})
    assert receipts.read(tmp_path) == {"trained": True}


@pytest.mark.parametrize("content", ["{", "3"])
def test_damage_is_named(tmp_path, content):
    (tmp_path / "receipt.json").write_text(content)
    with pytest.raises(MMFairseqError, match=r"receipt.json: not a receipt .* remove"):
        receipts.read(tmp_path)


def test_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"bytes")
    assert receipts.sha256(tmp_path / "file") == hashlib.sha256(b"bytes").hexdigest()
    assert receipts.sha256(tmp_path / "none") == ""
