"""The prepared folder under kills and beside other runs."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mm_fairseq.corpora import ParsedCorpus, writing
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance

KILLED = (
    "import os, signal, sys\nfrom pathlib import Path\nfrom mm_fairseq.corpora import ParsedCorpus, writing\n"
    "from mm_fairseq.manifest import Manifest, Utterance\n"
    "kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    "rows = Manifest(Path('files'), [], [Utterance('a', text='x')])\n"
    "files = {'a': lambda path: path.write_text(sys.argv[2])} | ({'b': kill} if sys.argv[2] == 'early' else {})\n"
    "rename, renamed = Path.rename, []\n"
    "def count(self, target):\n"
    "    if sys.argv[2] == 'late' and renamed:\n"
    "        kill()\n"
    "    renamed.append(rename(self, target))\n"
    "Path.rename = count\n"
    "writing.write('x', ParsedCorpus(rows, [], {}, files=files), Path(sys.argv[1]), overwrite=True)\n"
)


def test_a_killed_run_leaves_nothing_in_its_place_and_is_swept(tmp_path):
    """Killed while it writes, or between the moves of the old and the new folder."""

    def run(how):
        return subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out"), how], check=False).returncode

    def names():
        return sorted(path.name for path in tmp_path.iterdir())

    assert run("early") == -signal.SIGKILL
    assert names() == [".out.new", ".out.tmp"]
    assert run("first") == 0
    assert names() == ["out"]
    assert run("late") == -signal.SIGKILL
    assert names() == [".out.new", ".out.old", ".out.tmp"]
    assert run("early") == -signal.SIGKILL
    assert (tmp_path / "out/files/a").read_text() == "first"  # in its place again
    assert run("second") == 0
    assert names() == ["out"]
    assert (tmp_path / "out/files/a").read_text() == "second"


def test_two_runs_at_once(tmp_path):
    prepared = ParsedCorpus(Manifest(Path("files"), [], [Utterance("a", text="x")]), [], {})
    prepared.files = {"a": lambda path: writing.write("x", prepared, tmp_path / "out")}
    with pytest.raises(MMFairseqError, match="another process is writing there"):
        writing.write("x", prepared, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_lies_behind_a_link_is_replaced(tmp_path):
    prepared = ParsedCorpus(Manifest(Path("files"), [], [Utterance("a", text="x")]), [], {})
    writing.write("x", prepared, tmp_path / "disk/out")
    (tmp_path / "out").symlink_to("disk/out")
    prepared.manifest.utterances = [Utterance("b", text="x")]
    writing.write("x", prepared, tmp_path / "out", overwrite=True)
    assert [row.id for row in Manifest.read(tmp_path / "disk/out/manifest.tsv").utterances] == ["b"]
    assert (tmp_path / "out").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["out"]
