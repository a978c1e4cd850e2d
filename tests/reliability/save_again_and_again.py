"""Save checkpoints, each greater by one, in a process made for each line of stdin, until it is killed.

Answers with the number of the process, and with a line when it is gone.
"""

import os
import sys
from pathlib import Path

import torch

from mm_fairseq import checkpoints

if __name__ == "__main__":
    last = Path(sys.argv[1]) / "checkpoint_last.pt"
    for _ in sys.stdin:
        process = os.fork()
        if not process:
            updates = checkpoints.updates(last) if last.is_file() else 0
            while True:
                updates += 1
                weight = torch.full((50_000,), float(updates))
                state = {"model": {"weight": weight}, "optimizer_history": [{"num_updates": updates}]}
                checkpoints.save(state, last.with_name("checkpoint_best.pt"))
                checkpoints.copy(last.with_name("checkpoint_best.pt"), last)
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()
        os.waitpid(process, 0)
        sys.stdout.write("gone\n")
        sys.stdout.flush()
