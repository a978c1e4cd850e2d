"""What the plugin must not import before it is needed: it costs seconds, or is an extra."""

import subprocess
import sys

HEAVY = ("torchaudio", "torchvision", "transformers", "tokenizers", "opensmile", "torch_geometric")


def test_heavy_libraries_are_not_imported_with_the_plugin():
    code = f"import sys, mm_fairseq, mm_fairseq.backbones; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
