"""CPU-seconds a sample of training `crossmodal_mult` on MFCC and BERT features, at the Korean model's sizes.

    python tests/bench/crossmodal_mult.py [--steps N] [--quick]

400 frames of audio of 40, 20 tokens of 768; width 64, 8 heads, 4 layers, its defaults, batches of 64, clipping,
fairseq's Adam, two threads. The reference is the same network with torch's own attention and dropout, and every frame
of the last layers. The last line is JSON; `value` must stay below `limit`, 0.10 times `scale`, and `peak_rss_gb` below
2.
"""

from mult_training import measure

FRAMES = {"audio": (400, 40), "text": (20, 768)}

if __name__ == "__main__":
    measure("crossmodal_mult", 0.10, FRAMES, 64)
