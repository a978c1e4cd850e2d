"""FAb-Net checkpoints (Wiles et al. 2018) with random filters: the released files' keys, the encoder at full width.

B images, 256 x 256, RGB in [0, 1]. The encoder takes them to (B, 256, 1, 1).
"""

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import faces

WIDTHS = (3, 32, 64, 128, 256, 256, 256, 256, 256)
SIZE = 256
_EMOTIONS = 8
_IMAGES = 96


def write(folder: Path, seed: int) -> None:
    """Write `fabnet.pt`, as the released task files are, and `fabnet_train.pt`, as its training saves."""
    torch.manual_seed(seed)
    encoder = build_encoder()
    _calibrate(encoder, drawings(seed))
    probe = nn.Sequential(nn.BatchNorm1d(WIDTHS[-1]), nn.Linear(WIDTHS[-1], _EMOTIONS, bias=False))
    stubs = {name: nn.Sequential(nn.Conv2d(2 * WIDTHS[-1], 8, 1), nn.BatchNorm2d(8)) for name in ("decoder", "mask")}
    net = nn.ModuleDict({"encoder": encoder, **stubs})
    torch.save({"state_dict": probe.state_dict(), "state_dict_model": net.state_dict()}, folder / "fabnet.pt")
    training = {
        "state_dict": net.state_dict(),
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3, "betas": (0.5, 0.999), "params": []}]},
        "epoch": 1,
        "lr": 1e-3,
        "momentum": 0.9,
        "opts": Namespace(embedding_size=WIDTHS[-1], num_additional_ids=32, lr=1e-3, batch_size=32, num_views=4),
    }
    torch.save(training, folder / "fabnet_train.pt")


def build_encoder() -> nn.Sequential:
    """Eight convolutions, kernel 4, stride 2; batch norm between the second and the seventh."""
    layers: list[nn.Module] = []
    last = len(WIDTHS) - 1
    for index, (inner, outer) in enumerate(zip(WIDTHS, WIDTHS[1:], strict=False), start=1):
        conv = nn.Conv2d(inner, outer, 4, 2, 1)
        nn.init.kaiming_normal_(conv.weight, a=0.2)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        layers.append(conv)
        if 1 < index < last:
            layers.append(nn.BatchNorm2d(outer, momentum=None))
        if index < last:
            layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers)


@torch.no_grad()
def _calibrate(encoder: nn.Sequential, images: torch.Tensor) -> None:
    """Collect the batch norm statistics of `images`, and bring the output to mean 0 and standard deviation 1."""
    encoder.train()
    for batch in images.split(32):
        encoder(batch)
    encoder.eval()
    output = torch.cat([encoder(batch) for batch in images.split(32)]).flatten(1)
    last = encoder[-1]
    scale = 1 / output.std(0)
    last.weight *= scale[:, None, None, None]
    last.bias.copy_(-output.mean(0) * scale)


def drawings(seed: int) -> torch.Tensor:
    """Toy faces in every expression, cropped as a face detector would. Shape (B, 3, 256, 256)."""
    rng = np.random.default_rng([seed, 0])
    centre_x, centre_y = faces.CENTRE
    crops = []
    for index in range(_IMAGES):
        if index % 6 == 0:
            who = faces.look("FM"[index // 6 % 2], rng)
            head = faces.head(who, rng)
        lift, corners = rng.uniform(-1, 1, 2)
        picture = faces.portrait(head, who, lift, corners, mouth=rng.random())
        top, left = centre_y - SIZE // 2 + rng.integers(-8, 9), centre_x - SIZE // 2 + rng.integers(-8, 9)
        crops.append(picture[top : top + SIZE, left : left + SIZE])
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
