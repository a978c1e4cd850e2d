"""The toy vq-wav2vec and its BERT, read by fairseq's own loading."""

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from fairseq.models.wav2vec.wav2vec import Wav2VecModel

from mm_fairseq.toy import audio_tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("audio_tokens")
    audio_tokens.write(out, seed=1)
    return out


def test_words_are_those_of_the_codes_of_toy_speech(folder):
    state = torch.load(folder / "vq_wav2vec" / "vq-wav2vec_kmeans.pt", weights_only=True)
    assert state["args"].arch == "audio_cpc"
    model = Wav2VecModel(state["args"]).eval()
    model.load_state_dict(state["model"])
    dictionary = Dictionary.load(str(folder / "bert_kmeans" / "dict.txt"))
    assert len(dictionary) > 24
    known = total = 0
    with torch.no_grad():
        for sound in audio_tokens._sounds(seed=5):
            codes = model.vector_quantizer.forward_idx(model.feature_extractor(torch.from_numpy(sound)[None]))[1][0]
            words = [f"{first}-{second}" for first, second in codes.tolist()]
            known += sum(word in dictionary for word in words)
            total += len(words)
    assert 0.6 * total < known


def test_bert_is_a_model_over_these_words(folder):
    models, _, _ = checkpoint_utils.load_model_ensemble_and_task(
        [str(folder / "bert_kmeans" / "bert_kmeans.pt")], arg_overrides={"data": str(folder / "bert_kmeans")}
    )
    dictionary = Dictionary.load(str(folder / "bert_kmeans" / "dict.txt"))
    embedding = models[0].encoder.sentence_encoder.embed_tokens
    assert embedding.num_embeddings == len(dictionary) + 1  # <mask>
