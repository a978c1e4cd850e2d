"""A training that goes on in the middle of an epoch on another number of processes, by the real commands."""

import torch
from commands import TRAIN, metrics, run

SMALL = ["--arch", "ssl_fusion", "--modalities", "text", "--encoder-layers", 1, "--embed-dim", 16]
SMALL += ["--encoder-ffn-embed-dim", 32, "--no-epoch-checkpoints", "--batch-size", 4]


def test_an_epoch_goes_on_with_what_is_left_of_it(data_bin, tmp_path):
    """24 utterances in 6 batches: two processes take 2 of them in one update, one process the other 4."""
    train = [data_bin, *TRAIN, *SMALL, "--save-dir", tmp_path]
    run("fairseq-train", *train, "--max-update", 1, processes=2)
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["extra_state"]["train_iterator"]
    assert (state["epoch"], state["iterations_in_epoch"]) == (1, 1)
    assert (state["consumed"], state["ranks"], state["batches"]) == (2, 2, 6)
    log = run("fairseq-train", *train, "--max-epoch", 2)
    assert "Loaded checkpoint" in log
    assert metrics(log, "valid")["num_updates"] == 1 + 4 + 6
