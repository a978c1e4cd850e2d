"""The commands of fairseq inside a process that has torch and fairseq loaded already: seconds a training."""

import contextlib
import io
import multiprocessing
import os
import socket
import sys
import traceback

import fairseq_cli.train
import fairseq_cli.validate
import torch
import torch.distributed as dist
from commands import TASK, TRAIN
from fairseq import checkpoint_utils

from mm_fairseq import fairseq_compat
from mm_fairseq.errors import MMFairseqError

SMALL = ["--arch", "ssl_fusion", "--modalities", "text", "--encoder-layers", 1, "--embed-dim", 16]
SMALL += ["--encoder-ffn-embed-dim", 32, "--encoder-attention-heads", 2, "--no-epoch-checkpoints"]
CPU = ["--cpu", "--num-workers", 0, "--log-format", "json"]


def call(main, args):
    """Run the `main` of a command of fairseq with these arguments."""
    before = sys.argv
    sys.argv = ["fairseq", *map(str, args)]
    fairseq_compat.apply()
    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # fairseq keeps that of an earlier training
    try:
        with torch.random.fork_rng(devices=[]):
            main()
    finally:
        sys.argv = before


def train(data_bin, save_dir, *args):
    """`fairseq-train` of a small model of texts."""
    call(fairseq_cli.train.cli_main, [data_bin, *TRAIN, *SMALL, *CPU, "--save-dir", save_dir, *args])


def validate(data_bin, checkpoint, out, *args):
    """`fairseq-validate`, with its results in `out`."""
    rest = ["--path", checkpoint, "--results-path", out]
    call(fairseq_cli.validate.cli_main, [data_bin, *TASK, *CPU, *rest, *args])


def _rank(function, args, rank, ranks, port, queue):
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            function(*args)
        queue.put((rank, "", None))
    except MMFairseqError as error:
        queue.put((rank, str(error), None))
    except BaseException:
        queue.put((rank, "", traceback.format_exc()))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def on_ranks(ranks, function, *args):
    """Call a function in forked processes that find each other as those of torchrun do; returns their errors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    runs = [context.Process(target=_rank, args=(function, args, rank, ranks, port, queue)) for rank in range(ranks)]
    for run in runs:
        run.start()
    told = sorted(queue.get(timeout=1000) for _ in runs)
    for run in runs:
        run.join(timeout=200)
    assert not [trace for *_, trace in told if trace], told
    return [message for _, message, _ in told]
