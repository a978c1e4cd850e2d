"""Shares cover the work."""

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing.share import Share


@pytest.mark.parametrize("ranks", [1, 3, 9])
def test_shares_cover_all_shards_once(ranks):
    own = [shard for rank in range(ranks) for shard in Share(ranks, rank).own(range(7))]
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
