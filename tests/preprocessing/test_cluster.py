"""Jobs are followed to their end, whatever it is; options of SLURM are read strictly and reach sbatch."""

import operator
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from engine_here import Here

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing import cluster
from mm_fairseq.preprocessing.cluster import Receipts, await_shards, last_line, run_jobs
from mm_fairseq.preprocessing.share import Share
from mm_fairseq.preprocessing.slurm import Slurm, read_options


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr(cluster, "POLL", 0.01)


def test_every_share_once(tmp_path, capsys):
    seen = []
    run_jobs(Here(3), lambda share: seen.append(share) or [share.told], 3, tmp_path, lambda: 0, 1, 0, "toy")
    assert sorted(seen) == [Share(3, rank) for rank in range(3)]
    assert capsys.readouterr().out.splitlines() == ["rank 2 of 3: ", "rank 1 of 3: ", "rank 0 of 3: "]


def test_one_that_fails_does_not_end_the_others(tmp_path):
    seen = []

    def task(share):
        seen.append(share.rank)
        if share.rank == 2:
            raise MMFairseqError("the tokenizer is gone")
        return [] if share.rank else (tmp_path / "none").read_text().splitlines()

    with pytest.raises(
        MMFairseqError, match=r"2 of 3 jobs failed; .*rank 0: .*none: No such.*\(log: .*/0.log\).*--res"
    ):
        run_jobs(Here(3), task, 3, tmp_path, lambda: 0, 1, 0, "toy")
    assert sorted(seen) == [0, 1, 2]


def test_an_interrupt_ends_the_jobs(tmp_path):
    engine = Here(2, interrupt=True)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(engine, lambda share: [], 2, tmp_path, lambda: 0, 1, 0, "toy")
    assert engine.stopped


def test_an_interrupt_while_jobs_are_started_ends_them_too(tmp_path):
    engine = Here(2)
    start = engine.start

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        start(*args)

    engine.start = interrupted
    with pytest.raises(KeyboardInterrupt):
        run_jobs(engine, lambda share: [], 2, tmp_path, lambda: 0, 1, 0, "toy")
    assert len(engine.shares) == 2
    assert engine.stopped
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_receipts_are_counted_once(tmp_path):
    count = Receipts([tmp_path / "audio", tmp_path / "text"], {0: 4, 1: 3})
    assert count() == 0
    seen = []
    for path in ("audio/shard-00000", "text/shard-00001", "text/shard-00000", "audio/shard-00001"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / f"{path}.json").touch()
        seen.append(count())
    assert seen == [0, 0, 4, 7]
    assert count() == 7


def test_shards_that_come_late_are_waited_for(tmp_path, monkeypatch):
    left = [[3, 4], [4], []]
    await_shards(lambda: left.pop(0), tmp_path)
    assert not left
    monkeypatch.setattr(cluster, "PATIENCE", 0.05)
    with pytest.raises(MMFairseqError, match="2 shards are not here, the first is 3; is it the same folder"):
        await_shards(lambda: [3, 4], tmp_path)


@pytest.mark.parametrize(
    ("text", "last"), [("a\nValueError: b\n----\n\n", "ValueError: b"), ("", "no reason was told"), ("x", "x")]
)
def test_last_line(text, last):
    assert last_line(text) == last


# SLURM


def test_options_of_slurm():
    assert read_options("partition=cpu, array=16,nodelist=a,b,mem=8G,cpus-per-task=2") == {
        "partition": "cpu",
        "array": "16",
        "nodelist": "a,b",
        "mem": "8G",
        "cpus_per_task": "2",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("partition=cpu", "array=N is missing"),
        ("array=2,color=red", "'color=red': expected KEY=VALUE; keys: array, time, .*partition"),
        ("array=2,partition=", "'partition=': expected KEY=VALUE"),
        ("16", "'16': expected KEY=VALUE"),
        ("array=0", "array=0: expected a whole number"),
        ("array=2,time=1:00", "time=1:00: expected a whole number"),
        ("array=2,array=3", "array is there twice"),
        ("array=2,cluster=moon", "cluster=moon: allowed are slurm, local"),
        ("array=2,cluster=local,partition=cpu", "cluster=local: partition is for SLURM only"),
        ("array=2", "no sbatch or srun on this machine.*cluster=local"),
    ],
)
def test_options_of_slurm_that_are_none(text, reason, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MMFairseqError, match=reason):
        Slurm(text)


def test_without_submitit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MMFairseqError, match=r"pip install 'mm-fairseq\[slurm\]'"):
        Slurm("array=2,cluster=local")


SBATCH = r"""#!/bin/bash
script="${@: -1}"
cp "$script" "$FAKE/script"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\)%.*/\1/p' "$script")
for i in $(seq 0 "$last"); do
  SLURM_JOB_ID=$((78 + i)) SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$i SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 \
  SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 bash "$script" >/dev/null 2>&1 &
done
echo "Submitted batch job 77"
"""
SACCT = r"""#!/bin/bash
printf 'JobID|State|NodeList\n77_0|RUNNING|here\n77_1|OUT_OF_MEMORY|here\n'
"""
SRUN = r"""#!/bin/bash
[[ $SLURM_ARRAY_TASK_ID == 1 ]] && exit 137
while [[ $1 == -* ]]; do
  case $1 in
    --output) out=${2//%A/77}; out=${out//%a/0}; exec >"${out//%t/0}" 2>&1; shift 2;;
    *) shift;;
  esac
done
exec "$@"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands that take an array as SLURM does, and run its first job here; the second one is lost."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    return tmp_path


def test_an_array_is_submitted_with_its_options_and_what_breaks_a_job_is_told(slurm, monkeypatch):
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0.1)
    engine = Slurm("partition=cpu,array=2,parallel=1,mem=8G,time=90,nodelist=a,b,reservation=night", workers=3)
    assert engine.cpus == 3
    engine.start(operator.methodcaller("nothing"), [Share(2, 0), Share(2, 1)], slurm / "logs")
    found, limit = [], time.monotonic() + 1000
    while len(found) < 2 and time.monotonic() < limit:
        found += engine.ended()
        time.sleep(0.05)
    script = (slurm / "script").read_text()
    for line in ("partition=cpu", "array=0-1%1", "mem=8G", "time=90", "nodelist=a,b", "reservation=night"):
        assert f"#SBATCH --{line}\n" in script
    assert "#SBATCH --cpus-per-task=3\n" in script
    (_, failed, log), (_, lost, _) = sorted(found)
    assert failed.startswith("the job failed: AttributeError: 'Share' object has no attribute")
    assert "AttributeError" in Path(log).read_text()
    assert lost.startswith("the job was ended (OUT_OF_MEMORY)")
