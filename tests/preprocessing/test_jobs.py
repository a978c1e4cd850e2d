"""binarize and extract by jobs that share the work: same bytes, one summary, what fails is taken up."""

import shutil

import pytest
from engine_here import Here
from extract_factory import make, settings

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing import cluster, description
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.encoding import Encoding
from mm_fairseq.preprocessing.extract import extract
from mm_fairseq.preprocessing.items import Items, Settings
from mm_fairseq.preprocessing.job import Job
from mm_fairseq.preprocessing.share import Share

SMALL = Settings(shard_size=2, tokenizer="words")
MFCC = ["audio=mfcc"]


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr(cluster, "POLL", 0.01)


@pytest.fixture
def reference(corpus, tmp_path, tree):
    binarize(corpus.write(), tmp_path / "reference", SMALL)
    return tree(tmp_path / "reference")


@pytest.mark.parametrize("ranks", [1, 4, 9])
def test_binarize(corpus, tmp_path, tree, reference, ranks):
    told = binarize(corpus.out, tmp_path / "bin", SMALL, engine=Here(ranks))
    assert tree(tmp_path / "bin") == reference
    assert told[0] == "12 utterances: 12 ok, 0 repaired, 0 quarantined"
    assert told[-1].startswith(f"{tmp_path}/bin: 6 shards in ")


def test_what_is_done_is_not_given_to_jobs(corpus, tmp_path, tree, reference):
    out = tmp_path / "bin"
    binarize(corpus.out, out, SMALL, engine=Here(2))
    with pytest.raises(MMFairseqError, match=r"there is a data-bin already.*--resume.*--overwrite"):
        binarize(corpus.out, out, SMALL, engine=Here(2))
    idle = Here(2)
    assert "nothing was left to do" in binarize(corpus.out, out, SMALL, resume=True, engine=idle)[-1]
    assert idle.logs is None
    binarize(corpus.out, out, Settings(shard_size=3, tokenizer="words"), overwrite=True, engine=Here(2))
    assert len(list(out.glob("audio/*.bin"))) == 4
    assert tree(out) != reference


def test_a_job_that_fails_is_taken_up(corpus, tmp_path, tree, reference, monkeypatch):
    def fails(job, shard, advance):
        if shard == 1:
            raise MMFairseqError("the tokenizer is gone")
        original(job, shard, advance)

    out, original = tmp_path / "bin", Job.process_shard
    with monkeypatch.context() as patch:
        patch.setattr(Job, "process_shard", fails)
        with pytest.raises(
            MMFairseqError, match=r"1 of 3 jobs failed; .*rank 1: the tokenizer is gone \(log: .*bin.jobs"
        ):
            binarize(corpus.out, out, SMALL, engine=Here(3))
    assert sorted(path.stem for path in out.glob("audio/*.json")) == [f"shard-0000{n}" for n in (0, 2, 3, 5)]
    assert not list(out.rglob(".*"))
    binarize(corpus.out, out, SMALL, resume=True, engine=Here(2))
    assert tree(out) == reference


def test_what_is_left_is_dealt_out_anew(corpus, tmp_path, tree, reference, monkeypatch, capsys):
    """Shards that all were of one job go to as many as there are; no job is started that would have none."""

    def fails(job, shard, advance):
        if shard in (1, 4):
            raise MMFairseqError("its machine is gone")
        original(job, shard, advance)

    out, original = tmp_path / "bin", Job.process_shard
    with monkeypatch.context() as patch:
        patch.setattr(Job, "process_shard", fails)
        with pytest.raises(MMFairseqError, match="1 of 3 jobs failed"):
            binarize(corpus.out, out, SMALL, engine=Here(3))
    capsys.readouterr()
    binarize(corpus.out, out, SMALL, resume=True, engine=Here(3))
    told = sorted(line.split(" in ")[0] for line in capsys.readouterr().out.splitlines())
    assert told == [f"rank {rank} of 2: {out}: 1 of 6 shards" for rank in (0, 1)]
    assert tree(out) == reference


def test_shards_of_two_streams_are_dealt_out_together(own, monkeypatch, capsys):
    extract(own, [*MFCC, "audio=logmel"], settings(usual_frames={"audio": 30}), Here(3))
    counts = [
        int(line.split(" utt")[0].rsplit(" ", 1)[1]) for line in capsys.readouterr().out.splitlines() if "@" in line
    ]
    assert len(counts) == 6
    assert sum(counts) == 48


def test_a_corpus_that_changes_meanwhile(corpus, tmp_path, monkeypatch):
    engine = Here(2)
    original = engine.start

    def start(run, shares, folder):
        (corpus.out / "targets.json").write_bytes((corpus.out / "targets.json").read_bytes() + b"\n")
        original(run, shares, folder)

    engine.start = start
    with pytest.raises(MMFairseqError, match=r"2 of 2 jobs failed.*targets.json of the prepared corpus was changed"):
        binarize(corpus.write(), tmp_path / "bin", SMALL, engine=engine)


@pytest.mark.parametrize("ranks", [1, 3])
def test_extract(own, raw, tmp_path, tree, ranks):
    expected = make(own, {"audio": "mfcc"})
    wanted = tree(own)
    for path in own.glob("audio@*"):
        shutil.rmtree(path)
    told = extract(own, MFCC, settings(workers=None), Here(ranks))
    assert tree(own) == wanted
    assert [line.split(" MB in ")[0] for line in told] == [line.split(" MB in ")[0] for line in expected]
    with pytest.raises(MMFairseqError, match=r"there already, with 5 shards; .*--resume"):
        extract(own, MFCC, settings(), Here(ranks))
    idle = Here(ranks)
    assert "nothing was left to do" in extract(own, MFCC, settings(resume=True), idle)[0]
    assert idle.logs is None
    again = Here(ranks)
    extract(own, MFCC, settings(overwrite=True), again)
    assert again.logs == own.parent / f"{own.name}.jobs"
    assert tree(own) == wanted


def test_an_extraction_that_fails_leaves_no_empty_folder(own, monkeypatch):
    def fails(encoding, shard, advance):
        raise MMFairseqError("damaged")

    monkeypatch.setattr(Encoding, "process_shard", fails)
    with pytest.raises(MMFairseqError, match=r"2 of 2 jobs failed; .*rank 0: damaged"):
        extract(own, MFCC, settings(), Here(2))
    assert not list(own.glob("*@*"))


def test_a_job_with_other_libraries_is_refused(corpus, tmp_path, monkeypatch):
    engine = Here(2)
    original, start = description.installed, engine.start

    def elsewhere(run, shares, folder):
        monkeypatch.setattr(description, "installed", lambda names: original(names) | {"soxr": "0.0.1"})
        start(run, shares, folder)

    engine.start = elsewhere
    with pytest.raises(MMFairseqError, match=r"2 of 2 jobs failed.*other options or libraries: versions was .*0\.0\.1"):
        binarize(corpus.write(), tmp_path / "bin", SMALL, engine=engine)


def test_a_machine_without_the_recordings_sets_nothing_aside(corpus, tmp_path, tree, reference):
    engine, out = Here(2), tmp_path / "bin"
    start = engine.start

    def elsewhere(run, shares, folder):
        corpus.raw.rename(tmp_path / "gone")
        start(run, shares, folder)

    engine.start = elsewhere
    with pytest.raises(MMFairseqError, match=r"2 of 2 jobs failed.*recordings is not there on this machine"):
        binarize(corpus.out, out, SMALL, engine=engine)
    with pytest.raises(MMFairseqError, match=r"/raw: the folder of the corpus's recordings is not there"):
        binarize(corpus.out, out, SMALL, resume=True)
    (tmp_path / "gone").rename(corpus.raw)
    binarize(corpus.out, out, SMALL, resume=True)
    assert tree(out) == reference


def test_recordings_that_go_in_the_middle_of_a_shard(corpus, tmp_path, tree, reference, monkeypatch):
    def item(job, writer, stream, row):
        if row.id == "u05" and corpus.raw.is_dir():
            corpus.raw.rename(tmp_path / "gone")
        return original(job, writer, stream, row)

    original, out = Job._item, tmp_path / "bin"
    with monkeypatch.context() as patch:
        patch.setattr(Job, "_item", item)
        patch.setattr(Items, "ahead", lambda items, rows, streams: iter(rows))
        with pytest.raises(MMFairseqError, match="recordings is not there on this machine"):
            binarize(corpus.out, out, SMALL)
    assert len(list(out.glob("audio/*.json"))) == 2
    (tmp_path / "gone").rename(corpus.raw)
    binarize(corpus.out, out, SMALL, resume=True)
    assert tree(out) == reference


def test_jobs_go_where_paths_are_relative_to(corpus, tmp_path, tree, monkeypatch):
    """A running cluster of Ray has workers that stand elsewhere."""
    (tmp_path / "codes").write_text("r e 3\n")
    monkeypatch.chdir(tmp_path)
    fastbpe, engine = Settings(shard_size=2, tokenizer="fastbpe:codes"), Here(2)
    start = engine.start

    def elsewhere(run, shares, folder):
        monkeypatch.chdir("/")
        start(run, shares, folder)

    engine.start = elsewhere
    binarize(corpus.write(), "bin", fastbpe, engine=engine)
    binarize(corpus.out, tmp_path / "other", fastbpe)
    assert tree(tmp_path / "bin") == tree(tmp_path / "other")


def test_anew_behind_a_link(corpus, tmp_path, tree, reference):
    (tmp_path / "disk").mkdir()
    (tmp_path / "bin").symlink_to("disk/real")
    binarize(corpus.out, tmp_path / "bin", Settings(shard_size=3, tokenizer="words"))
    binarize(corpus.out, tmp_path / "bin", SMALL, overwrite=True)
    assert (tmp_path / "bin").is_symlink()
    assert tree(tmp_path / "disk" / "real") == reference
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["real"]


def test_an_extraction_made_anew_keeps_no_old_index(own, monkeypatch):
    def fails(encoding, shard, advance):
        raise MMFairseqError("damaged")

    make(own, {"audio": "mfcc"})
    (folder,) = own.glob("audio@*")
    assert (folder / "joined.idx").is_file()
    monkeypatch.setattr(Encoding, "process_shard", fails)
    with pytest.raises(MMFairseqError, match="damaged"):
        extract(own, MFCC, settings(overwrite=True, share=Share(2, 0)))
    assert not (folder / "joined.idx").exists()
    assert folder.is_dir()
