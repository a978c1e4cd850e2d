import json
from collections import Counter
from pathlib import Path

import pytest

from mm_fairseq.corpora import CORPORA, Corpus, ParsedCorpus, base, writing
from mm_fairseq.corpora.account import account as count
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import COLUMNS, CONTEXT, FEATURES, TEXT_ASR, Manifest, Utterance
from mm_fairseq.targets import Target, read_targets


def make(**settings) -> ParsedCorpus:
    rows = [
        Utterance("a", speaker="S1", audio="a.wav", text="x", labels={"e": "no", "v": "1.5"}),
        Utterance("b", speaker="S1", text="y", labels={"e": "yes", "v": ""}),
        Utterance("c", speaker="S2", session="2", video="c.mp4", labels={"e": "", "v": "-1"}),
    ]
    targets = [Target("e", "single", ("no", "yes")), Target("v", "regression")]
    protocols = settings.pop("protocols", {"official": {"1": {"train": ["a"], "valid": ["b"], "test": ["c"]}}})
    return ParsedCorpus(Manifest(Path("/data"), ["e", "v"], rows), targets, protocols, **settings)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", CORPORA.names())
def test_every_corpus_keeps_the_contract(name):
    corpus = CORPORA.get(name)
    assert issubclass(corpus, Corpus)
    assert corpus.help
    assert corpus.raw


def test_the_folder(tmp_path):
    out = tmp_path / "new" / "out"
    writing.write("toy", make(), out)
    assert sorted(snapshot(out)) == [
        "account.json",
        "manifest.tsv",
        "splits/official/1/test",
        "splits/official/1/train",
        "splits/official/1/valid",
        "targets.json",
    ]
    assert (out / "splits/official/1/valid").read_text() == "b\n"
    assert read_targets(out / "targets.json") == make().targets
    assert Manifest.read(out / "manifest.tsv").utterances == make().manifest.utterances
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_the_account(tmp_path):
    protocols = {
        name: {fold: {"train": ["a"], "valid": ["b"], "test": ["c"]} for fold in ("2", "1")}
        for name in ("second", "first")
    }
    returned = writing.write(
        "toy", make(protocols=protocols, excluded=Counter(xxx=2), published={"all": 3}, seen={"all": 3}), tmp_path
    )
    account = json.loads((tmp_path / "account.json").read_text())
    assert account == returned
    assert account["protocols"] == [{"name": "second", "folds": ["2", "1"]}, {"name": "first", "folds": ["2", "1"]}]
    assert account["modalities"] == {"audio": 1, "text": 2, "video": 1}
    assert account["speakers"] == {"S1": 2, "S2": 1}
    assert account["sessions"] == {"2": 1}
    assert account["excluded"] == {"xxx": 2}
    assert account["votes"] == account["attributes"] == {}
    assert account["targets"] == {
        "e": {"no": 1, "yes": 1, "": 1},
        "v": {"labelled": 2, "min": -1, "mean": 0.25, "max": 1.5, "": 1},
    }
    assert account["splits"]["first"]["1"]["test"] == {
        "utterances": 1,
        "modalities": {"audio": 0, "text": 0, "video": 1},
        "speakers": 1,
        "targets": {"e": {"no": 0, "yes": 0, "": 1}, "v": {"labelled": 1, "min": -1, "mean": -1, "max": -1}},
    }


def test_the_account_counts_members_of_sets_votes_and_attributes():
    rows = [
        Utterance("a", text="x", labels={"t": "p|q", "t_votes": "p=1|q=0.5", "sex": "f"}),
        Utterance("b", text="x", labels={"t": "q", "t_votes": "", "sex": "m"}),
        Utterance("c", text="x", labels={"t": "|", "t_votes": "p=0|q=0", "sex": "f"}),
        Utterance("d", text="x", labels={"t": "", "t_votes": "q=1", "sex": ""}),
    ]
    target = Target("t", "multilabel", ("p", "q", "r"), votes="t_votes")
    fold = {"train": ["a", "b"], "valid": ["c"], "test": ["d"]}
    parsed = ParsedCorpus(Manifest(Path("/data"), ["t", "t_votes", "sex"], rows), [target], {"official": {"1": fold}})
    account = count("toy", parsed)
    assert account["targets"] == {"t": {"p": 1, "q": 2, "r": 0, "|": 1, "": 1}}
    assert account["votes"] == {"t": {"utterances": 3, "mean": round(2.5 / 3, 6)}}
    assert account["attributes"] == {"sex": {"": 1, "f": 2, "m": 1}}
    assert account["splits"]["official"]["1"]["train"]["targets"]["t"] == {"p": 1, "q": 2, "r": 0}


def test_an_empty_split_is_written_and_noted(tmp_path):
    prepared = make(protocols={"official": {"1": {"train": ["a", "b"], "test": ["c"]}}})
    writing.write("toy", prepared, tmp_path)
    assert (tmp_path / "splits/official/1/valid").read_text() == ""
    assert prepared.notes == ["protocol 'official', fold '1': no utterances in valid"]


def test_overwrite_is_asked_for(tmp_path):
    writing.write("toy", make(), tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(MMFairseqError, match="already a prepared folder; --overwrite"):
        writing.write("toy", make(), tmp_path)
    assert snapshot(tmp_path) == before
    writing.write(
        "toy",
        make(protocols={"other": {"1": {"train": ["a"], "valid": ["b"], "test": ["c"]}}}),
        tmp_path,
        overwrite=True,
    )
    assert [path.name for path in (tmp_path / "splits").iterdir()] == ["other"]


def test_other_files_are_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(MMFairseqError, match=r"holds other files \(thesis.tex\)"):
        writing.write("toy", make(), tmp_path, overwrite=True)
    with pytest.raises(MMFairseqError, match="is a file"):
        writing.write("toy", make(), tmp_path / "thesis.tex")


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    writing.write("toy", make(), out)
    before = snapshot(out)
    bad = make()
    bad.manifest.utterances[0] = Utterance("a", text="two\tfields")
    with pytest.raises(MMFairseqError, match="tab"):
        writing.write("toy", bad, out, overwrite=True)
    assert snapshot(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("protocols", "reason"),
    [
        ({"p": {"1": {"train": ["a"], "test": ["a"]}}}, "1 utterances stand in two splits: a"),
        ({"p": {"1": {"train": ["z"]}}}, "1 ids are not in the manifest: z"),
        ({"p": {"1": {"dev": ["a"]}}}, "unknown splits dev; allowed: train, valid, test"),
        ({"../p": {"1": {"train": ["a"]}}}, "a name consists of letters"),
    ],
)
def test_bad_protocols(tmp_path, protocols, reason):
    with pytest.raises(MMFairseqError, match=reason):
        writing.write("toy", make(protocols=protocols), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *((name, f"column '{name}': a target or an attribute can't .*id, split, .*features") for name in COLUMNS),
        (FEATURES, "column 'features': a target or an attribute can't"),
        (CONTEXT, "column 'context': no target can be called so: .*what was said before"),
        (TEXT_ASR, "column 'text_asr': no target can be called so: .*what a recogniser heard"),
        ("v", "column 'v': two targets or attributes have this name"),
    ],
)
def test_a_target_with_the_name_of_a_column(tmp_path, name, reason):
    prepared = make()
    prepared.targets[0] = Target(name, "single", ("no", "yes"))
    prepared.manifest.extra[0] = name
    with pytest.raises(MMFairseqError, match=reason):
        writing.write("toy", prepared, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_attribute_with_the_name_of_a_column(tmp_path):
    prepared = make()
    prepared.manifest.extra += [CONTEXT, TEXT_ASR]
    writing.write("toy", prepared, tmp_path / "out")
    prepared.manifest.extra.append("speaker")
    with pytest.raises(MMFairseqError, match="column 'speaker': a target or an attribute can't have the name"):
        writing.write("toy", prepared, tmp_path / "other")


@pytest.mark.parametrize("apart", [{"official": ("speaker",)}, {"other": ("speakers",)}])
def test_a_promise_that_nobody_knows_is_a_fault_of_the_parser(tmp_path, apart):
    with pytest.raises(AssertionError, match="promises what nobody knows"):
        writing.write("toy", make(apart=apart), tmp_path / "out")


def test_a_corpus_without_utterances_is_an_error(tmp_path):
    prepared = make(protocols={})
    prepared.manifest.utterances.clear()
    with pytest.raises(MMFairseqError, match="no utterance is left"):
        writing.write("toy", prepared, tmp_path / "out")


def test_texts_of_any_encoding_are_read(tmp_path):
    path = tmp_path / "x.txt"
    for data, expected in [
        (b"\xef\xbb\xbfa", "a"),
        ("é’".encode(), "é’"),
        (b"it\x92s", "it’s"),
        (b"\x81\xe9", "\x81é"),
        ("é’".encode("utf-16"), "é’"),
        (b"\xfe\xff\x00a", "a"),
        (b"\xff\xfea", "ÿþa"),
    ]:
        path.write_bytes(data)
        assert base.read_text(path) == expected


def test_one_line():
    assert base.one_line(" a\t b\r\nc\u2028d\x00 ") == "a b c d"
