"""Seconds until `mm-fairseq serve` has answered 95 of 100 requests that come at once, good and bad files mixed.

    python tests/bench/serve.py [--checkpoint CKPT] [--requests N] [--rounds N] [--quick]

The checkpoint is one of `ssl_fusion`, trained for two updates on a toy corpus, unless another is given; its own answers
(`EmotionModel.predict`) say what is right. Two of five requests are bad, each must be refused with its reason. The
reference is the time of one request that is alone: two cores can work at two at once, so N requests may take N / 2
times that, and `limit` is three times as long. Resident memory, of the server and its
children, is that after each round; what they share counts for each. The
last line is JSON; nothing may be wrong, and `value` must stay below `limit`.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import servers
from server_mix import Mix
from small_models import SmallModels

from mm_fairseq.inference import EmotionModel

CORES = 2
FACTOR = 3
ALONE = 20  # requests, one after another


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="that is served (default: one of ssl_fusion, made here)")
    parser.add_argument("--requests", type=int, default=200, help="at once (default: 200)")
    parser.add_argument("--rounds", type=int, default=3, help="of them (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one round of 40")
    given = parser.parse_args()
    count, rounds = (40, 1) if given.quick else (given.requests, given.rounds)
    with tempfile.TemporaryDirectory() as folder:
        small = SmallModels(Path(folder) / "small")
        checkpoint, temporary = given.checkpoint or small.checkpoint("ssl_fusion"), Path(folder) / "served"
        temporary.mkdir()
        with EmotionModel.from_pretrained(checkpoint) as model:
            mix = Mix(model, small.clips()[:12], temporary)
        with servers.Command(checkpoint, temporary, "--max-seconds", 20) as command:
            result = measure(command, mix.cases(count), rounds)
    print(json.dumps(result))  # noqa: T201


def measure(command: servers.Command, cases: list, rounds: int) -> dict:
    """Figures of one server."""
    requests = [case.raw(command.port) for case in cases]
    good = [raw for case, raw in zip(cases, requests, strict=True) if case.scores]
    for raw in good[:ALONE]:
        servers.ask_all(command.port, [raw])
    alone = [servers.ask_all(command.port, [good[number % len(good)]])[0].seconds for number in range(ALONE)]
    single = statistics.median(alone)
    memory, seconds, wrong, took = [command.memory()], [], 0, 0.0
    for _ in range(rounds):
        began = time.monotonic()
        replies = servers.ask_all(command.port, requests)
        took += time.monotonic() - began
        wrong += sum(bool(case.fault(reply)) for case, reply in zip(cases, replies, strict=True))
        seconds += [reply.seconds for reply in replies]
        memory.append(command.memory())
    p95 = statistics.quantiles(seconds, n=20)[-1]
    limit = FACTOR * single * len(requests) / CORES
    return {
        "name": "serve",
        "value": round(p95, 3),
        "unit": "seconds",
        "reference": round(single, 4),
        "ratio": round(p95 / single, 2),
        "limit": round(limit, 3),
        "requests": len(requests),
        "rounds": rounds,
        "requests_a_second": round(rounds * len(requests) / took, 1),
        "wrong": wrong,
        "refused": sum(not case.scores for case in cases),
        "memory_gb": [round(each / 2**30, 3) for each in memory],
        "peak_rss_gb": round(max(memory) / 2**30, 2),
    }


if __name__ == "__main__":
    main()
