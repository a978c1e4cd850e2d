"""The BERT over vq-wav2vec's codes against fairseq's own two classes, on files of the public forms."""

import re
import shutil
from collections import Counter

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.roberta import RobertaModel
from public_files import features, load
from small_backbones import ARGS, entry

from mm_fairseq.backbones import BackboneSet, build, complete, resolve
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import audio_tokens

SECONDS = 0.6


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The folder of the BERT and the file of codes, as `mm-fairseq toy checkpoints` writes them."""
    folder = tmp_path_factory.mktemp("audio_tokens")
    for name in ("vq_wav2vec", "bert_kmeans"):
        (folder / name).mkdir()
    audio_tokens.write(folder, seed=1)
    return folder


def spec(files, options=""):
    return f"vq_bert:{files}/bert_kmeans,vq={files}/vq_wav2vec/vq-wav2vec_kmeans.pt{options}"


def waves():
    torch.manual_seed(0)
    return 0.3 * torch.randn(1, int(16000 * SECONDS))


def words_of(backbones, x):
    """The codes as words, by way of upstream's dictionary."""
    codes = backbones.encoders["audio"].vq.codes(x, torch.zeros(x.shape, dtype=torch.bool)).x[0]
    return [f"{first}-{second}" for first, second in codes.tolist()]


@pytest.mark.parametrize("layer", ["last", 1])
def test_equals_upstream(files, tmp_path, layer):
    common = Counter(words_of(load("audio", spec(files)), waves())).most_common(1)[0][0]
    files = shutil.copytree(files, tmp_path / "files")
    edit(files / "bert_kmeans", rf"^{common} ", "15-15 ")  # so that a pair has no word
    backbones = load("audio", spec(files, f",layer={layer}"))
    dictionary = Dictionary.load(str(files / "bert_kmeans" / "dict.txt"))
    state = torch.load(files / "bert_kmeans" / "bert_kmeans.pt", weights_only=True)
    dictionary.add_symbol("<mask>")
    upstream = RobertaModel(state["args"], RobertaModel.build_model(state["args"], Task(dictionary)).encoder).eval()
    upstream.upgrade_state_dict(state["model"])
    upstream.load_state_dict(state["model"])
    x = waves()
    with torch.no_grad():
        words = words_of(backbones, x)
        ids = [dictionary.bos(), *(dictionary.index(word) for word in words), dictionary.eos()]
        assert len(set(ids)) > 5
        assert ids.count(dictionary.unk()) == words.count(common)
        expected, extra = upstream(torch.tensor([ids]), features_only=True, return_all_hiddens=True)
    expected = expected if layer == "last" else extra["inner_states"][1].transpose(0, 1)
    torch.testing.assert_close(features(backbones, "audio", x), expected, atol=1e-5, rtol=1e-5)


class Task:
    def __init__(self, dictionary):
        self.source_dictionary = dictionary


def test_cached_codes_are_as_good_as_the_waveform(files):
    backbones = load("audio", spec(files))
    x = waves()
    with torch.no_grad():
        codes, mask = backbones.encoders["audio"].vq.codes(x, torch.zeros(x.shape, dtype=torch.bool))
        found = backbones({"audio": codes}, {"audio": mask})["audio"].x
    assert torch.equal(found, features(backbones, "audio", x))
    assert found.size(1) == codes.size(1) + 2


def test_the_codes_never_learn():
    model = BackboneSet({"audio": entry("vq_bert")}).train()
    assert not model.encoders["audio"].vq.training
    assert model.encoders["audio"].bert.training
    model({"audio": waves()}, {"audio": torch.zeros(waves().shape, dtype=torch.bool)})["audio"].x.sum().backward()
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learning
    assert not any(".vq." in name for name in learning)
    used = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert learning == used  # or DistributedDataParallel would stop


def test_what_is_too_long_is_cut_and_still_ends():
    model = build(entry("vq_bert")).eval()
    frames = ARGS["vq_bert"]["bert"]["max_positions"] + 10
    x = torch.randn(1, model.vq.longest_input(frames))
    seen = []
    model.bert.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        found = model(x, torch.zeros(x.shape, dtype=torch.bool))
    assert found.x.size(1) == 64
    assert seen[0][0, -1] == 2
    assert model.longest_input(10**6) == model.max_input == model.vq.longest_input(62)


def test_front_is_the_part_that_may_be_cached(files):
    found = resolve({"audio": spec(files)}, {"audio"}, {}).entries["audio"]
    codes = resolve({"audio": f"vq_wav2vec:{files}/vq_wav2vec/vq-wav2vec_kmeans.pt"}, set(), {}).entries["audio"]
    front = type(build(found)).front(found)
    assert complete(front) == codes


def test_a_new_training_of_it_has_no_front():
    assert type(build(entry("vq_bert"))).front(entry("vq_bert") | {"sha256": {}}) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "dict.txt").unlink(), r"dict\.txt: no such file"),
        (lambda folder: (folder / "bert_kmeans.pt").unlink(), r"neither bert_kmeans\.pt nor model\.pt"),
        (lambda folder: append(folder), r"dict\.txt: \d+ symbols, the model beside it knows \d+"),
        (
            lambda folder: edit(folder, r"^(\d+)-\d+ 1", r"\1-99999 1", 1),
            r"dict\.txt: word '\d+-99999', but vq-wav2vec has codes 0",
        ),
        (lambda folder: edit(folder, r"(\d+)-(\d+)", r"\1+\2"), r"dict\.txt: no word of two codes such as '12-305'"),
        (lambda folder: (folder / "dict.txt").write_bytes(b"\xff\xfe 1\n"), r"dict\.txt"),
    ],
)
def test_folders_that_do_not_fit(files, tmp_path, change, words):
    shutil.copytree(files, tmp_path / "files")
    change(tmp_path / "files" / "bert_kmeans")
    with pytest.raises(MMFairseqError, match=words):
        load("audio", spec(tmp_path / "files"))


def append(folder):
    with open(folder / "dict.txt", "a") as file:
        file.writelines(f"madeupword{number} 0\n" for number in range(3))


def edit(folder, pattern, new, count=0):
    path = folder / "dict.txt"
    path.write_text(re.sub(pattern, new, path.read_text(), count=count, flags=re.MULTILINE))


def test_specifications_that_lack_a_part(files):
    with pytest.raises(MMFairseqError, match=r"needs the file of codes too: vq_bert:.*,vq=vq-wav2vec_kmeans\.pt"):
        load("audio", f"vq_bert:{files}/bert_kmeans")
    with pytest.raises(MMFairseqError, match=r"not a folder; expected one with bert_kmeans\.pt or model\.pt"):
        load("audio", f"vq_bert:{files}/bert_kmeans/bert_kmeans.pt,vq={files}/vq_wav2vec/vq-wav2vec_kmeans.pt")


def test_four_groups_of_codes_have_no_words():
    args = {**ARGS["vq_bert"], "vq": {**ARGS["vq_bert"]["vq"], "vq_groups": 4}}
    with pytest.raises(MMFairseqError, match=r"vq has 4 groups"):
        build(entry("vq_bert") | {"args": args})
