"""Label maps on hand-made corpora of every kind of target, and on a corpus read from disk."""

import re
from pathlib import Path

import pytest

from mm_fairseq.corpora import base, label_map, writing
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.targets import Target, kind_of

CLASSES = ("neu", "hap", "exc", "oth")


@pytest.fixture
def read(tmp_path):
    """`read(text)`: the label map of a file with this text."""

    def run(text):
        path = tmp_path / "labels.toml"
        path.write_text(text, encoding="utf-8")
        return label_map.read(path)

    return run


def corpus(target, labels, votes=(), **further):
    """Rows u0, u1, ... with these labels; two of them train, the others test."""
    rows = []
    for number, label in enumerate(labels):
        fields = {target.name: label}
        if votes:
            fields[target.votes] = votes[number]
        fields |= {name: values[number] for name, values in further.items()}
        rows.append(Utterance(f"u{number}", text="x", labels=fields))
    ids = [row.id for row in rows]
    protocols = {"official": {"1": {"train": ids[:2], "valid": [], "test": ids[2:]}}}
    targets = [target, *(Target(name, "regression") for name in further)]
    return base.ParsedCorpus(Manifest(Path("/data"), list(rows[0].labels), rows), targets, protocols)


def labels(parsed, name="emotion"):
    return {row.id: row.labels[name] for row in parsed.manifest.utterances}


def test_single_labels_are_merged_renamed_and_left_out(read):
    parsed = corpus(Target("emotion", "single", CLASSES), ["neu", "exc", "hap", "oth", ""])
    mapped = label_map.apply(parsed, read('[emotion]\nexc = "hap"\nneu = "no emotion"\noth = ""\n'))
    assert mapped.targets == [Target("emotion", "single", ("no emotion", "hap"))]
    assert labels(mapped) == {"u0": "no emotion", "u1": "hap", "u2": "hap", "u4": ""}
    assert mapped.excluded == {"label map: oth": 1}
    assert mapped.protocols == {"official": {"1": {"train": ["u0", "u1"], "valid": [], "test": ["u2", "u4"]}}}
    assert mapped.notes == ["labels.toml: emotion: exc as hap, neu as no emotion, oth left out"]
    assert (len(parsed.manifest), parsed.excluded, labels(parsed)["u1"]) == (5, {}, "exc")


def test_names_are_changed_at_once(read):
    parsed = corpus(Target("emotion", "single", CLASSES), ["neu", "hap", "exc"])
    mapped = label_map.apply(parsed, read('[emotion]\nneu = "hap"\nhap = "neu"\n'))
    assert labels(mapped) == {"u0": "hap", "u1": "neu", "u2": "exc"}
    assert mapped.targets[0].classes == ("hap", "neu", "exc", "oth")


def test_the_order_of_classes(read):
    parsed = corpus(Target("emotion", "single", CLASSES), ["neu", "hap"])
    mapped = label_map.apply(parsed, read('[emotion]\nexc = "hap"\nclasses = ["oth", "neu", "hap"]\n'))
    assert mapped.targets[0].classes == ("oth", "neu", "hap")
    parsed = corpus(Target("emotion", "single", ("classes", "b")), ["classes", "b"])
    assert labels(label_map.apply(parsed, read('[emotion]\nclasses = "a"\n')))["u0"] == "a"


def test_votes_go_along(read):
    target = Target("emotion", "single", CLASSES, votes="emotion_votes")
    votes = ["neu=1|oth=1", "hap=0.5|exc=1.5|neu=1", "oth=3", ""]
    parsed = corpus(target, ["neu", "exc", "neu", "hap"], votes)
    mapped = label_map.apply(parsed, read('[emotion]\nexc = "hap"\noth = ""\n'))
    assert labels(mapped, "emotion_votes") == {"u0": "neu=1", "u1": "hap=2|neu=1", "u2": "", "u3": ""}
    assert mapped.targets[0].votes == "emotion_votes"
    for row in mapped.manifest.utterances:
        kind_of(mapped.targets[0], soft=True).check(row.labels["emotion"], row.labels["emotion_votes"])


def test_sets_of_labels(read):
    target = Target("emotion", "multilabel", CLASSES, votes="emotion_votes")
    votes = ["neu=1|hap=0.75|exc=0.5|oth=0", "", "", ""]
    parsed = corpus(target, ["hap|exc", "neu|exc|oth", "oth", "|"], votes)
    mapped = label_map.apply(parsed, read('[emotion]\nexc = "hap"\noth = ""\n'))
    assert labels(mapped) == {"u0": "hap", "u1": "neu|hap", "u2": "|", "u3": "|"}
    assert labels(mapped, "emotion_votes")["u0"] == "neu=1|hap=1"
    assert mapped.excluded == {}
    kind_of(mapped.targets[0], soft=True).check("hap", "neu=1|hap=1")


def test_decisions_of_each_class(read):
    parsed = corpus(Target("emotion", "binary_each", CLASSES), ["neu", "exc", "oth"])
    mapped = label_map.apply(parsed, read('[emotion]\nexc = "hap"\noth = ""\n'))
    assert (mapped.targets[0].kind, mapped.targets[0].classes) == ("binary_each", ("neu", "hap"))
    assert labels(mapped) == {"u0": "neu", "u1": "hap"}


def test_a_row_with_a_label_of_another_target_stays_without_this_one(read):
    target = Target("emotion", "single", CLASSES, votes="votes")
    parsed = corpus(target, ["neu", "oth", "hap"], ["neu=1", "oth=2|neu=1", "hap=1"], valence=["3", "2.5", ""])
    mapped = label_map.apply(parsed, read('[emotion]\noth = ""\n'))
    assert labels(mapped) == {"u0": "neu", "u1": "", "u2": "hap"}
    assert labels(mapped, "votes")["u1"] == ""
    assert labels(mapped, "valence")["u1"] == "2.5"
    assert mapped.excluded == {}


def test_what_was_left_out_before_stays_counted_and_files_of_rows_go_with_them(read, tmp_path):
    parsed = corpus(Target("emotion", "single", CLASSES), ["neu", "hap", "oth"])
    parsed.excluded["xxx"] = 4
    rows = parsed.manifest.utterances
    rows[:] = [Utterance(row.id, audio=f"{row.id}.wav", labels=row.labels) for row in rows]
    parsed.manifest.root = Path(base.FILES)
    parsed.files = {row.audio: lambda path: path.write_bytes(b"") for row in rows}
    mapped = label_map.apply(parsed, read('[emotion]\noth = ""\n'))
    account = writing.write("table", mapped, tmp_path / "out")
    assert account["utterances"] + sum(account["excluded"].values()) == 3 + 4
    assert sorted(path.name for path in (tmp_path / "out/files").iterdir()) == ["u0.wav", "u1.wav"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\n[mood]\nexc = "hap"\n', r"toml:2: no target 'mood'; targets: emotion, valence"),
        ('[emotion]\n# merged\nhapy = "exc"\n', r"toml:3: label 'hapy' is none of neu, hap, exc, oth"),
        ('[emotion]\n"h y" = "exc"\n', r"toml:2: label 'h y' is none of"),
        ('emotion.hapy = "exc"\n', r"labels.toml: label 'hapy' is none of"),
        ("[emotion]\nexc = 3\n", r"toml:2: 'exc': expected a label in quotation marks, or \"\" to leave it out, not 3"),
        ('[emotion]\nexc = "a\\tb"\n', r"toml:2: 'exc': expected a label"),
        ('[emotion]\nclasses = ["a", ""]\n', r"toml:2: 'classes': expected a label in quotation marks, not ''"),
        ('[emotion]\nneu = "exc"\nclasses = ["exc", "oth"]\n', r"toml:3: classes exc, oth; .* are exc, hap, oth"),
        ('[emotion]\nneu = ""\nhap = ""\nexc = ""\n', r"toml:1: target 'emotion': .*at least 2 different classes"),
        ('[emotion]\nneu = "a|b"\n', r"toml:1: target 'emotion': class 'a\|b' must not contain"),
        ('[valence]\n1 = "low"\n', r"toml:1: target 'valence' is of kind 'regression': it has numbers"),
        ('[emotion]\nchange language = "x"\n', r"at line 2, column \d+\); expected TOML.*in quotation marks"),
        ('exc = "hap"\n', r"'exc' stands in no table; begin with \[TARGET\]"),
        ("# nothing\n", r"changes nothing"),
        ("# a\n[emotion]\n", r"toml:2: \[emotion\] changes nothing; below it stand lines OLD = \"NEW\""),
    ],
)
def test_faults_name_file_and_line(read, text, message):
    target = Target("emotion", "single", CLASSES, votes="votes")
    parsed = corpus(target, ["neu", "hap"], ["", ""], valence=["1", "2"])
    with pytest.raises(MMFairseqError, match=message):
        label_map.apply(parsed, read(text))


def test_files_that_are_none(tmp_path):
    with pytest.raises(MMFairseqError, match=r"--label-map .*: is a folder; give the file"):
        label_map.read(tmp_path)
    with pytest.raises(MMFairseqError, match=r"--label-map .*none\.toml: no such file"):
        label_map.read(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_bytes('[emotion]\n"bo\xdf" = ""\n'.encode("latin-1"))
    with pytest.raises(MMFairseqError, match=r"a.toml:2: byte 0xdf is not UTF-8"):
        label_map.read(tmp_path / "a.toml")


@pytest.mark.parametrize("page", ["own_table", "iemocap", "module"])
def test_what_the_pages_show_is_understood(read, page):
    file = Path(__file__).parents[2] / f"examples/{page}/README.md"
    text = label_map.__doc__ if page == "module" else file.read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\n(\[emotion\].*?)^```", text, re.MULTILINE | re.DOTALL)
    found = read(block)
    old = list(found.names["emotion"])
    kept = [label for label in found.classes["emotion"] if label not in found.names["emotion"].values()]
    classes = dict.fromkeys([*old, *kept, *filter(None, found.names["emotion"].values())])
    target = Target("emotion", "single", tuple(classes))
    mapped = label_map.apply(corpus(target, list(target.classes)), found)
    assert mapped.targets[0].classes == found.classes["emotion"]
    assert set(labels(mapped).values()) == set(found.classes["emotion"])


def test_six_classes_of_iemocap_become_four(iemocap, parse, read):
    """The same rows, labels and votes that `--classes 4` gives."""
    mapped = label_map.apply(parse("iemocap", iemocap, "--classes", "6"), read('[emotion]\nexc = "hap"\nfru = ""\n'))
    four = parse("iemocap", iemocap)
    assert mapped.targets == four.targets
    assert mapped.manifest == four.manifest
    assert mapped.protocols == four.protocols
    assert mapped.excluded == {"xxx": 5, "label map: fru": 5}
