"""The account as tables and as a page, from objects made by hand."""

import copy
import re

import pytest

from mm_fairseq.report import account as pages

OVERLAP = {"protocol": "p", "fold": "1", "splits": ["train", "test"], "what": "words", "leak": False}
OVERLAP |= {"shared": 3, "all": 40, "items": [1200, 5], "of": [2000, 50], "first": ["a"]}


def split(rows, joy, score):
    media = {"audio": rows, "text": 1}
    return {
        "utterances": rows,
        "speakers": 2,
        "modalities": media,
        "targets": {"e": {"joy": joy}, "v": {"mean": score}},
    }


def metrics(wa, mae, match):
    return {"metrics": {"wa_e": wa, "acc_joy_e": 1.0, "mae_v": mae, "corr_v": None, "exact_match": match}}


ACCOUNT = {
    "corpus": "<toy>",
    "utterances": 2050,
    "excluded": {"xxx": 3},
    "modalities": {"audio": 2050, "text": 2, "video": 0},
    "targets": {"e": {"joy": 7, "": 2}, "v": {"mean": 0.5}},
    "attributes": {"sex": {"f": 1200, "": 850}},
    "speakers": {"ann": 50, "bob": 2000},
    "sessions": {},
    "dialogues": 0,
    "splits": {"p": {"1": {"train": split(2000, 6, 0.25), "test": split(50, 1, -1.5)}}},
    "published": {"all": 2051, "classes": 2},
    "seen": {"all": 2050, "classes": 2},
    "known_bad": {"clip7": "cut off"},
    "notes": ["a <note>"],
    "durations": {
        "utterances": 2046,
        "seconds": 7200.0,
        "shortest": 0.5,
        "median": 3.25,
        "longest": 20.0,
        "unknown": {"missing_file": {"utterances": 4, "first": ["u1", "u2", "u3"]}},
        "splits": {"p": {"1": {"train": 5400.0, "test": 1800.0}}},
        "targets": {"e": {"joy": 1800.0, "": 5400.0}},
    },
}
AUDIT = {
    "leaks": ["protocol 'p' leaks"],
    "accepted": True,
    "overlaps": [OVERLAP, OVERLAP | {"what": "file_hashes", "leak": True}],
    "baselines": {
        "p": {
            "1": {
                "valid": {"majority": metrics(0.9, 9.0, 0.9)},
                "test": {"majority": metrics(0.48123, 0.75, 0.25), "constant_zero": {"metrics": {"mae_v": 1.0}}},
            },
        }
    },
    "files": {"named": 2050, "faults": {"missing_file": 4}, "same_bytes": 1, "first": [], "bytes_read": 9},
}


def rows(table):
    return [list(row) for row in table.rows]


def test_counts_and_modalities():
    tables = pages.counts(ACCOUNT)
    assert [table.title for table in tables] == ["e, p", "v, p"]
    assert list(tables[0].columns) == ["fold", "rows", "speakers", "joy", "(no label)"]
    assert rows(tables[0]) == [["1 train", "2000", "2", "6", "0"], ["1 test", "50", "2", "1", "0"]]
    assert rows(tables[1])[1] == ["1 test", "50", "2", "-1.5"]
    assert rows(pages.modalities(ACCOUNT)[0]) == [["1 train", "2000", "2000", "1"], ["1 test", "50", "50", "1"]]


def test_published_counts():
    assert rows(pages.published(ACCOUNT)) == [["all", "2,051", "2,050", "-1"], ["classes", "2", "2", "0"]]
    assert pages.published(ACCOUNT | {"published": {}}) is None


def test_durations():
    by_split, by_label = pages.durations(ACCOUNT)
    assert rows(by_split) == [["1 train", "1.50", "75.0"], ["1 test", "0.50", "25.0"]]
    assert rows(by_label) == [["joy", "0.50", "25.0"], ["(no label)", "1.50", "75.0"]]
    assert pages.length(ACCOUNT) == (
        "2.00 hours in 2046 utterances, 0.50 s to 20.00 s, median 3.25 s; "
        "not known of 4 (missing file): u1, u2, u3 and others"
    )
    silent = {"utterances": 0, "seconds": 0, "unknown": {"no_recording_or_times": {"utterances": 1, "first": ["u1"]}}}
    assert pages.durations({"durations": silent}) == []
    assert pages.length({"durations": silent}) == "not known of 1 (no recording or times): u1"


@pytest.mark.parametrize(
    ("size", "unit", "told"), [(3600, "hours", "1.00"), (3599, "minutes", "59.98"), (40, "s", "40.00")]
)
def test_short_corpora_are_told_in_shorter_units(size, unit, told):
    found = ACCOUNT["durations"] | {"seconds": size, "splits": {"p": {"1": {"train": size, "test": 0.0}}}}
    account = ACCOUNT | {"durations": found}
    assert pages.length(account).startswith(f"{told} {unit} in 2046 utterances")
    by_split, by_label = pages.durations(account)
    assert rows(by_split)[0] == ["1 train", told, "100.0"]
    assert by_split.columns[1] == by_label.columns[1] == unit
    assert by_split.title == f"{'Seconds' if unit == 's' else unit.capitalize()}, p"


def test_what_is_not_all_is_no_hundred_per_cent():
    found = OVERLAP | {"items": [2000, 2609], "of": [2000, 2610]}
    assert rows(pages.overlaps({"overlaps": [found]}, brief=False)[0])[0][-1] == "99.9"
    assert rows(pages.overlaps({"overlaps": [found | {"of": [2000, 2609]}]}, brief=False)[0])[0][-1] == "100.0"


def test_overlaps():
    (table,) = pages.overlaps(AUDIT, brief=False)
    assert rows(table) == [
        ["words of test in train", "3", "40", "5", "50", "10.0"],
        ["file hashes of test in train: LEAK", "3", "40", "5", "50", "10.0"],
    ]


@pytest.mark.parametrize(
    ("changes", "files", "told"),
    [
        ({}, {}, ["in two splits: nothing; compared: files, words, speakers"]),
        ({"modalities": {"audio": 9, "text": 0}}, {}, ["in two splits: nothing; compared: files, speakers"]),
        ({"speakers": {}, "sessions": {"1": 9}}, {}, ["in two splits: nothing; compared: files, words, sessions"]),
        ({"speakers": {}, "dialogues": 7}, {}, ["in two splits: nothing; compared: files, words, dialogues"]),
        (
            {"speakers": {}},
            {"faults": {"missing_file": 2000, "empty": 50}},
            [
                "in two splits: nothing; compared: words",
                "2,050 of 2,050 files could not be compared: missing file 2,000, empty 50",
            ],
        ),
        (
            {"speakers": {}, "modalities": {"text": 0}},
            {"named": 0},
            ["in two splits: nothing; compared: the ids alone"],
        ),
    ],
)
def test_only_what_was_compared_is_named(changes, files, told):
    account = ACCOUNT | changes
    audit = AUDIT | {"overlaps": [], "files": AUDIT["files"] | {"faults": {}} | files}
    assert pages.compared(account, audit) == told
    assert pages.compared(account, audit | {"overlaps": [OVERLAP]}) == told[1:]


def test_the_worst_fold_in_brief():
    folds = [OVERLAP | {"fold": fold, "items": [1, n]} for fold, n in (("1", 5), ("2", 25), ("3", 7))]
    found = {"overlaps": [*folds, OVERLAP | {"protocol": "q"}]}
    first, second = pages.overlaps(found, brief=True)
    assert first.title == "In two splits, p (the worst of 3 folds)"
    assert rows(first) == [["fold 2: words of test in train", "3", "40", "25", "50", "50.0"]]
    assert rows(second)[0][0] == "words of test in train"
    assert len(pages.overlaps(found, brief=False)[0].rows) == 3


def test_baselines():
    classes, numbers, match = pages.baselines(AUDIT, ["e", "v"], brief=True)
    assert classes.title == "To beat on test: e, p"
    assert list(classes.columns) == ["answer", "wa %"]
    assert rows(classes) == [["majority of train", "48.1"]]
    assert list(numbers.columns) == ["answer", "mae", "corr"]
    assert rows(numbers) == [["median of train", "0.750", "-"], ["always 0", "1.000", "-"]]
    assert rows(match) == [["majority of train", "25.0"]]
    everything = pages.baselines(AUDIT, ["e", "v"], brief=False)[0]
    assert rows(everything) == [["valid: majority of train", "90.0"], ["test: majority of train", "48.1"]]


def test_means_over_folds():
    audit = copy.deepcopy(AUDIT)
    audit["baselines"]["p"]["2"] = {"test": {"majority": metrics(0.5, 0.25, 0.5)}}
    classes, numbers, _ = pages.baselines(audit, ["e", "v"], brief=True)
    assert classes.title == "To beat on test: e, p (mean of 2 folds)"
    assert rows(classes) == [["majority of train", "49.1"]]
    assert rows(numbers) == [["median of train", "0.500", "-"], ["always 0", "1.000", "-"]]
    audit["baselines"]["p"]["3"] = {"valid": {"majority": metrics(0.5, 0.25, 0.5)}}
    assert pages.baselines(audit, ["e", "v"], brief=True)[0].title.startswith("To beat on valid")


@pytest.mark.parametrize("leaks", [True, False])
def test_the_page(leaks):
    text = pages.page(ACCOUNT, AUDIT if leaks else AUDIT | {"leaks": []})
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "&lt;toy&gt;: account" in text
    assert "a &lt;note&gt;" in text
    assert "clip7: cut off" in text
    assert "left out: xxx 3" in text
    assert ("protocol &#39;p&#39; leaks" in text) == leaks
    assert ">1, accepted<" in text if leaks else ">0<" in text
    for cell in ("2,051", "48.1", "10.0", "1.50", "file hashes of test in train: LEAK", "bob", "(none)"):
        assert f">{cell}</t" in text
    assert text.index(">bob<") < text.index(">ann<")
    assert "<b>words</b>: the same text, but for case, white space and punctuation; <b>file hashes</b>: " in text
    assert "<b>wa</b>: accuracy (weighted: every utterance counts the same); <b>mae</b>: mean absolute error; " in text
    anchors = re.findall(r'href="#(\w+)"', text)
    assert len(anchors) == 8
    assert all(f'id="{anchor}"' in text for anchor in anchors)
