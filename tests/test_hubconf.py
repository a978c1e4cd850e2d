"""The package as a repository of torch.hub."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mm_fairseq.errors import MMFairseqError

ROOT = Path(__file__).parents[1]


def test_a_model_by_torch_hub(small_models):
    clip = small_models.clips()[0]
    path = str(small_models.checkpoint("wave_text"))
    with torch.hub.load(str(ROOT), "emotion_model", path, source="local", max_seconds=20) as model:
        expected = small_models.model("wave_text").predict(clip.video, text=clip.text)
        assert model.predict(clip.video, text=clip.text) == expected


def test_what_is_no_model_is_told(tmp_path):
    with pytest.raises(MMFairseqError, match=r"no checkpoint_best\.pt in this folder"):
        torch.hub.load(str(ROOT), "emotion_model", str(tmp_path), source="local")


@pytest.mark.slow
def test_the_checkout_need_not_be_installed(small_models, tmp_path):
    """Where nothing but its requirements is: the package is found beside hubconf.py."""
    (tmp_path / "checkout").mkdir()
    for name in ("hubconf.py", "mm_fairseq"):
        (tmp_path / "checkout" / name).symlink_to(ROOT / name)
    path, clip = str(small_models.checkpoint("wave_text")), small_models.clips()[0]
    program = f"""
import sys
sys.meta_path = [each for each in sys.meta_path if "editable" not in repr(each)]
import torch
model = torch.hub.load({str(tmp_path / "checkout")!r}, "emotion_model", {path!r}, source="local")
with model:
    answer = model.predict({str(clip.video)!r}, text={clip.text!r})
import mm_fairseq
print(mm_fairseq.__file__.startswith({str(tmp_path)!r}), answer[0]["label"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=1000)
    expected = small_models.model("wave_text").predict(clip.video, text=clip.text)
    assert done.stdout.split()[-2:] == ["True", expected[0]["label"]], done.stderr[-2000:]
