"""What the plugin must not import before it is needed, as it costs seconds or is an extra; what it leaves alone."""

import subprocess
import sys

HEAVY = ("torchaudio", "torchvision", "transformers", "tokenizers", "opensmile", "torch_geometric")


def test_heavy_libraries_are_not_imported_with_the_plugin():
    code = f"import sys, mm_fairseq, mm_fairseq.backbones; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_logging_stays_as_it_was():
    """A module of fairseq has the root logger print what every library says, at DEBUG."""
    code = "import logging, mm_fairseq; print(logging.root.level == logging.WARNING, logging.root.handlers)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True []"
