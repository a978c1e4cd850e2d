"""Engines call the function once a shard, pass errors on and end their workers."""

import multiprocessing
import os
import signal
import time

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing.engines import run_shards


@pytest.mark.parametrize("workers", [1, 3])
def test_every_shard_once(tmp_path, workers):
    def process(shard, advance):
        advance()
        (tmp_path / f"{shard}").touch(exist_ok=False)

    run_shards(process, [0, 2, 3, 7], workers, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2", "3", "7"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_back_and_ends_the_others(workers):
    def process(shard, advance):
        if shard == 0:
            raise MMFairseqError("the tokenizer is gone")
        time.sleep(1000)

    began = time.monotonic()
    with pytest.raises(MMFairseqError, match="the tokenizer is gone"):
        run_shards(process, range(4), workers, 4)
    assert time.monotonic() - began < 500
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_is_told():
    def process(shard, advance):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(MMFairseqError, match=r"a worker process died.*--workers 1"):
        run_shards(process, range(4), 2, 4)
