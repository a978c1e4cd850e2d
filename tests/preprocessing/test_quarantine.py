"""Verdicts sum to the number of rows; every problem has a line."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mm_fairseq.preprocessing.quarantine import Account, Problem

STAGES = ("audio", "text", "video")


@given(st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=30))
def test_every_row_has_one_verdict(have):
    ids = [f"ü{row}" for row in range(len(have))]
    problems = [
        Problem(ids[row], "a.wav", stage, "unreadable", "a reason")
        for row, there in enumerate(have)
        for stage, good in zip(STAGES, there, strict=True)
        if not good
    ]
    account = Account(ids, np.array([any(there) for there in have]), problems)
    verdicts = account.verdicts()
    assert verdicts == {
        "ok": sum(all(there) for there in have),
        "repaired": sum(any(there) and not all(there) for there in have),
        "quarantined": sum(not any(there) for there in have),
    }
    assert sum(account.codes().values()) == len(problems)
    lines = [json.loads(line) for line in account.to_jsonl().decode().splitlines()]
    assert [(line["id"], line["stage"]) for line in lines] == [(problem.id, problem.stage) for problem in problems]
    assert {line["id"] for line in lines if line["verdict"] == "quarantined"} == {
        name for name, there in zip(ids, have, strict=True) if not any(there)
    }


def test_the_screen_names_up_to_twenty():
    ids = [f"u{row}" for row in range(30)]
    account = Account(
        ids, np.ones(30, bool), [Problem(name, "", "text", "empty_transcript", "no words") for name in ids]
    )
    lines = list(account.lines())
    assert lines[0] == "30 utterances: 0 ok, 30 repaired, 0 quarantined"
    assert lines[1] == "problems: 30 empty_transcript"
    assert lines[2] == "  repaired u0: text: empty_transcript: no words"
    assert (len(lines), lines[-1]) == (23, "  and 10 more in quarantine.jsonl")
