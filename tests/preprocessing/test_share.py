"""Shares cover the work, and a lock file keeps processes apart and goes."""

import multiprocessing
import os
import signal
import time

import pytest

from mm_fairseq.databin import HeldError
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing.share import Share, held


@pytest.mark.parametrize("ranks", [1, 3, 9])
def test_shares_cover_all_shards_once(ranks):
    own = [shard for rank in range(ranks) for shard in Share(ranks, rank).own(7)]
    assert sorted(own) == list(range(7))


def test_options_come_before_the_environment():
    torchrun = {"WORLD_SIZE": "4", "RANK": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    assert Share.of(None, None, torchrun) == (4, 2, 2, 0)
    assert Share.of(3, 1, torchrun)[:2] == (3, 1)
    assert Share.of(None, None, {"RANK": ""}) == (1, 0, 1, 0)
    assert Share.of(None, None, {"LOCAL_WORLD_SIZE": "0"}).local_ranks == 1
    assert (Share().told, Share(3, 1).told) == ("", "rank 1 of 3: ")


@pytest.mark.parametrize(("count", "rank"), [(2, None), (None, 0), (2, 2), (2, -1), (0, 0)])
def test_shares_that_are_none(count, rank):
    with pytest.raises(MMFairseqError, match="--nshard"):
        Share.of(count, rank, {})


def hold(path, log, seconds):
    with held(path), open(log, "a") as file:
        file.write("[")
        file.flush()
        time.sleep(seconds)
        file.write("]")


def fork(*args):
    process = multiprocessing.get_context("fork").Process(target=hold, args=args)
    process.start()
    return process


def test_one_at_a_time_and_nothing_stays(tmp_path):
    runs = [fork(tmp_path / ".a.tmp", tmp_path / "log", 0.01) for _ in range(8)]
    for run in runs:
        run.join()
    assert (tmp_path / "log").read_text() == "[]" * 8
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_killed_holder_holds_nobody_up(tmp_path):
    run = fork(tmp_path / ".a.tmp", tmp_path / "log", 60)
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_text():
        time.sleep(0.01)
    with pytest.raises(HeldError, match="another process"), held(tmp_path / ".a.tmp", wait=0):
        raise AssertionError
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    with held(tmp_path / ".a.tmp", wait=0):
        assert (tmp_path / ".a.tmp").exists()
    assert not (tmp_path / ".a.tmp").exists()
