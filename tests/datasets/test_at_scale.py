"""A data-bin of 20,000 utterances: few bytes and no Python object for each, and the lengths and labels of its files."""

import gc
import tracemalloc

import numpy as np
import pytest
from bench.open_million import CLASSES, Rows, generate
from task_factory import task_of

from mm_fairseq.databin import StreamReader

SIZE = 20_000
MODALITIES = ("audio", "text", "video")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("large") / "data-bin", SIZE)


def planned(folder, ranks=8, **batches):
    task = task_of(folder)
    task.load_dataset("train")
    iterator = task.get_batch_iterator(task.dataset("train"), seed=1, num_shards=ranks, shard_id=3, **batches)
    iterator.next_epoch_itr()
    return task, iterator


@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_nothing_is_kept_of_an_utterance_but_a_few_bytes(folder):
    planned(folder, max_tokens=8000)  # what is imported and cached when first used
    gc.collect()
    before = len(gc.get_objects())
    tracemalloc.start()
    try:
        kept = planned(folder, max_sentences=1)  # the most batches that there can be
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept[1].frozen_batches) == 0.96 * SIZE
    assert len(gc.get_objects()) - before < 1000
    assert held < 16 * 0.96 * SIZE + 350_000  # of which the dictionary is two thirds


def test_lengths_labels_and_rows_are_those_written(folder):
    task, iterator = planned(folder, ranks=4, max_tokens=8000)
    data, rows = task.dataset("train"), np.load(folder / "splits/official/1/train.npy")
    lengths = {name: StreamReader(folder / name, anew=True).lengths[rows] for name in MODALITIES}
    lengths["text"] += 2 * (lengths["text"] > 0)
    for name in MODALITIES:
        assert np.array_equal(data.lengths[name][:], lengths[name])
    sizes = np.max([-(-lengths["audio"] // 160), lengths["text"], lengths["video"], np.ones(len(rows))], axis=0)
    assert np.array_equal(data.sizes, sizes)
    written = Rows(SIZE)
    some = np.random.default_rng(0).integers(0, len(rows), 50)
    for index in some.tolist():
        utterance = data.utterances[index]
        assert utterance.id == f"utt{rows[index]:07d}"
        assert {**written.labels(rows[index]), "style": "acted"} == utterance.labels
        assert CLASSES[data.truths["emotion"][index]] == utterance.labels["emotion"]
    assert np.array_equal(data.truths["emotion"][:], written.classes[rows])
    assert np.array_equal(data.truths["arousal"][:], written.arousal[rows])
    batches = list(iterator.frozen_batches)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(rows)))
    assert max(len(batch) * sizes[batch].max() for batch in batches) <= 8000


def test_positives_are_counts(folder):
    positives, items = task_of(folder).positives["emotion"]
    rows = np.load(folder / "splits/official/1/train.npy")
    assert (positives.tolist(), items) == (np.bincount(Rows(SIZE).classes[rows]).tolist(), len(rows))
