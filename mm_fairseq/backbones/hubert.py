"""HuBERT (Hsu et al. 2021, arXiv 2106.07447), from the public files of fairseq's examples/hubert."""

from .base import BACKBONES
from .wav2vec2 import Wav2Vec2


@BACKBONES.register("hubert")
class Hubert(Wav2Vec2):
    """Hidden states of HuBERT: 768, 1024 or 1280 wide, one frame each 20 ms; the network is that of wav2vec 2.0."""

    names = ("hubert",)
    left_out = ("mask_emb", "final_proj.", "label_embs_concat", "target_glu.")
