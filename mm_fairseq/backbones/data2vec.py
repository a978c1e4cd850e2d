"""data2vec of audio (Baevski et al. 2022, arXiv 2202.03555), from the public files of fairseq's examples/data2vec."""

from .base import BACKBONES
from .wav2vec2 import Wav2Vec2


@BACKBONES.register("data2vec")
class Data2Vec(Wav2Vec2):
    """Hidden states of data2vec: 768 or 1024 wide, one frame each 20 ms; wav2vec 2.0 with five position convolutions.

    The released models set `pos_conv_depth` to 5. The teacher (`_ema`) that a file may hold is left out.
    """

    names = ("data2vec_audio",)
    left_out = ("mask_emb", "final_proj.", "_ema")
    always_projects = True
