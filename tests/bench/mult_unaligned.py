"""CPU-seconds a sample of training `crossmodal_mult` on three unaligned modalities, at MulT's sizes.

    python tests/bench/mult_unaligned.py [--steps N] [--quick]

20 tokens of 300, 400 frames of audio of 74, 500 of video of 35; width 30, 10 heads, 5 layers, MulT's dropouts, batches
of 24, clipping, fairseq's Adam, two threads. The reference is the same network with torch's own attention and dropout,
and every frame of the last layers. The last line is JSON; `value` must stay below `limit`, 0.40 times `scale`, and
`peak_rss_gb` below 2.5.
"""

from mult_training import measure

FRAMES = {"text": (20, 300), "audio": (400, 74), "video": (500, 35)}
SIZES = {"d_model": 30, "num_heads": 10, "layers": 5, "conv_kernel": 1, "merge_how": "last"}
DROPOUTS = {"attn_dropout": 0.1, "relu_dropout": 0.1, "embed_dropout": 0.25, "res_dropout": 0.1, "out_dropout": 0.0}

if __name__ == "__main__":
    measure("mult_unaligned", 0.40, FRAMES, 24, **SIZES, **DROPOUTS)
