"""Several runs share a data-bin: same bytes, completed once, nothing lost by a kill, nobody in another's way."""

import multiprocessing
import os

import pytest

from mm_fairseq.atomic import HeldError, locked
from mm_fairseq.databin import DataBin
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing import binarize as module
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.preprocessing.job import Job
from mm_fairseq.preprocessing.share import Share

SMALL = Settings(shard_size=2, vocab_size=60)


@pytest.fixture
def reference(corpus, tmp_path, tree):
    binarize(corpus.write(), tmp_path / "reference", SMALL)
    return tree(tmp_path / "reference")


def rank(corpus, out, number, of, workers=1, resume=False):
    return binarize(corpus.out, out, SMALL, workers, resume, share=Share(of, number))


def fork(function, *args):
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    return process


def test_one_after_the_other(corpus, tmp_path, tree, reference):
    out = tmp_path / "bin"
    told = [rank(corpus, out, number, 3, workers=2) for number in (1, 0, 2)]
    assert tree(out) == reference
    assert [len(lines) for lines in told[:2]] == [2, 2]
    assert [lines[0].split(" in ")[0] for lines in told] == [
        f"rank {number} of 3: {out}: 2 of 6 shards" for number in (1, 0, 2)
    ]
    assert told[0][1].startswith("4 of 6 shards are still with others, by rank: 0 (2), 2 (2);")
    assert told[1][1].startswith("2 of 6 shards are still with others, by rank: 2 (2);")
    assert told[2][1] == "12 utterances: 12 ok, 0 repaired, 0 quarantined"


def test_until_the_last_has_finished_it_is_not_taken_for_complete(corpus, tmp_path):
    corpus.write()
    rank(corpus, tmp_path / "bin", 0, 2)
    with pytest.raises(MMFairseqError, match="binarizing was not finished"):
        DataBin(tmp_path / "bin").meta  # noqa: B018


@pytest.mark.parametrize("ranks", [2, 8], ids=["two", "more than shards"])
def test_all_at_once(corpus, tmp_path, tree, reference, ranks):
    out = tmp_path / "bin"
    runs = [fork(rank, corpus, out, number, ranks) for number in range(ranks)]
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0] * ranks
    assert tree(out) == reference


def test_the_same_rank_twice_at_once(corpus, tmp_path, tree, reference):
    out = tmp_path / "bin"
    runs = [fork(rank, corpus, out, number, 2, 1, True) for number in (0, 1, 0, 1)]
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0] * 4
    assert tree(out) == reference


def test_what_a_killed_rank_left_goes_with_another_number_of_ranks(corpus, tmp_path, tree, reference):
    out = tmp_path / "bin"
    rank(corpus, out, 0, 2)
    for name in (".shard-00000.tmp", ".data-bin.tmp", "audio/.shard-00003.bin.tmp"):
        (out / name).touch()
    for number in (2, 0, 1):
        rank(corpus, out, number, 3, resume=True)
    assert tree(out) == reference


def test_a_rank_whose_shards_are_there_needs_a_word(corpus, tmp_path, tree, reference):
    out = tmp_path / "bin"
    rank(corpus, out, 1, 2)
    before = tree(out)
    with pytest.raises(MMFairseqError, match=r"3 of the 3 shards of rank 1 are there already; .*--resume"):
        rank(corpus, out, 1, 2)
    with pytest.raises(MMFairseqError, match=r"--overwrite, with several runs at once: .*remove .*bin first"):
        binarize(corpus.out, out, SMALL, overwrite=True, share=Share(2, 0))
    with pytest.raises(MMFairseqError, match="shard_size was 2, is 3"):
        binarize(corpus.out, out, Settings(shard_size=3, vocab_size=60), share=Share(2, 0))
    assert tree(out) == before
    rank(corpus, out, 0, 2)
    assert tree(out) == reference
    with pytest.raises(MMFairseqError, match="are there already"):
        rank(corpus, out, 0, 2)
    assert "nothing was left to do" in rank(corpus, out, 0, 2, resume=True)[0]
    assert tree(out) == reference


def test_another_folder_is_not_joined(corpus, tmp_path):
    out = tmp_path / "bin"
    out.mkdir()
    (out / "thesis.txt").touch()
    corpus.write()
    with pytest.raises(MMFairseqError, match="something else than a data-bin"):
        rank(corpus, out, 0, 2)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_completed_once(corpus, tmp_path, monkeypatch):
    """All ranks are done before any of them asks whether all are."""
    corpus.write()
    out, finished, original = tmp_path / "bin", [], Job.finish
    monkeypatch.setattr(Job, "finish", lambda job: finished.append(1) or original(job))
    jobs = [Job(corpus.out, out, SMALL) for _ in range(2)]
    before = [module.join(job) for job in jobs]
    for shard in range(6):
        jobs[0].process_shard(shard)
    told = [module.complete(job, Share(2, number), before[number]) for number, job in enumerate(jobs)]
    assert told[0][0].startswith("12 utterances")
    assert told[1] == ["all shards are done, another rank has completed the data-bin"]
    assert len(finished) == 1


def test_a_damaged_shard_is_mended_by_its_rank(corpus, tmp_path, tree, reference):
    out = tmp_path / "bin"
    for number in (0, 1):
        rank(corpus, out, number, 2)
    os.truncate(out / "audio/shard-00003.bin", 100)
    (out / "quarantine.jsonl").unlink()
    assert "3 shards" not in rank(corpus, out, 0, 2, resume=True)[1]
    assert rank(corpus, out, 1, 2, resume=True)[1].startswith("12 utterances")
    assert tree(out) == reference


def test_it_is_not_replaced_meanwhile(corpus, tmp_path, monkeypatch):
    corpus.write()
    out, tried = tmp_path / "bin", []
    original = Job.process_shard

    def process(job, shard, advance):
        with pytest.raises(HeldError), locked(out, wait=0):
            raise AssertionError("replaced")
        tried.append(shard)
        original(job, shard, advance)

    monkeypatch.setattr(Job, "process_shard", process)
    rank(corpus, out, 1, 2)
    assert tried == [1, 3, 5]
