"""Windows of sound and pictures of the same time, cut out of clips.

Notation: M windows, F frames of a window, S samples of a window, rates in Hz. A window begins with a frame; frame f of
a clip spans the time from f / fps to (f + 1) / fps.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOBES, ROLLOFF = 6, 0.99  # of the interpolation, as torchaudio.functional.resample has them


def starts(frames: Tensor, window: int, count: int, draw: bool) -> tuple[Tensor, Tensor]:
    """Where windows begin.

    Args:
        frames: of each clip (B).
        window: frames of a window.
        count: windows of a clip at most, evenly spaced from its begin to its end; one stands in its middle.
        draw: one window a clip instead, anywhere in it with equal probability, by torch's generator.

    Returns:
        row and first frame of each window, both (M).
    """
    spare = (frames - window).clamp(min=0).cpu()
    if draw:
        shares = torch.rand(len(spare), dtype=torch.float64).tolist()
        places = [[int(share * (most + 1))] for share, most in zip(shares, spare.tolist(), strict=True)]
    else:
        places = [_even(most, min(count, most + 1)) for most in spare.tolist()]
    rows = [row for row, of_row in enumerate(places) for _ in of_row]
    flat = [place for of_row in places for place in of_row]
    return torch.tensor(rows, device=frames.device), torch.tensor(flat, device=frames.device)


def every_start(frames: Tensor, window: int, count: int) -> tuple[Tensor, Tensor]:
    """The same as `starts` at evaluation, `count` windows for each clip whatever its length.

    Returns:
        first frames, and which of the windows are those of `starts`, both (B, count).
    """
    spare = (frames - window).clamp(min=0)[:, None]
    number = torch.arange(count, device=frames.device)
    own = (spare + 1).clamp(max=count)
    even = (number * spare / (own - 1).clamp(min=1).double()).round().long()
    return torch.where(own == 1, spare // 2, even), number < own


def _even(most: int, count: int) -> list[int]:
    """`count` whole numbers from 0 to `most`; a single one in the middle."""
    return [most // 2] if count == 1 else [round(number * most / (count - 1)) for number in range(count)]


def cut(x: Tensor, real: Tensor, begin: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Windows of frames.

    Args:
        x: clips (M, T, C), one a window.
        real: frames of them that are real (M), those in front.
        begin: first frame of each window (M).
        frames: F of a window.

    Returns:
        (M, F, C), zeros where a clip has ended, and a mask (M, F), True there.
    """
    places = begin[:, None] + torch.arange(frames, device=x.device)
    mask = places >= real[:, None]
    rows = torch.arange(x.size(0), device=x.device)[:, None]
    found = x[rows, places.clamp(max=x.size(1) - 1)]
    return found.masked_fill(mask[..., None], 0.0), mask


def resampled(x: Tensor, real: Tensor, begin: Tensor, samples: int, rate: float, given: float) -> tuple[Tensor, Tensor]:
    """Windows of samples at another rate, by a sinc function under a Hann window.

    Of a whole clip it is what `torchaudio.functional.resample` gives, with the same six zero crossings to either side
    and the same roll-off of 0.99; but each number is computed from the samples around its time alone, so that a
    window can begin anywhere, and what lies outside of the clip counts as zero wherever the padding of its batch ends.

    Args:
        x: clips (M, T), one a window.
        real: samples of them that are real (M), those in front.
        begin: time at which each window begins (M), in seconds.
        samples: S of a window.
        rate: at which they are wanted.
        given: rate of `x`.

    Returns:
        (M, S), and a mask (M, S), True where the clip has ended.
    """
    x = x.masked_fill(torch.arange(x.size(1), device=x.device) >= real[:, None], 0.0)
    base = min(rate, given) * ROLLOFF
    reach = math.ceil(LOBES * given / base)  # samples of `x` to either side
    steps = torch.arange(samples, device=x.device, dtype=torch.float64)
    origin = begin.double()[:, None] * given
    whole = origin.floor()
    part = origin - whole  # M x 1; as a rule the same for all, which then share their weights
    alike = not torch.compiler.is_exporting() and bool((part == part[:1]).all())
    times = (part[:1] if alike else part) + steps * (given / rate)  # in samples of `x`
    nearest = times.floor().long()
    x = F.pad(x, (reach, reach + 2))  # zeros outside of the clip
    first = whole.long() + nearest  # of `x` as it is now, the first sample that counts
    out = torch.zeros(first.shape, dtype=x.dtype, device=x.device)
    for tap in range(2 * reach + 2):
        t = (nearest - reach + tap - times) * (base / given)
        t = t.clamp(-LOBES, LOBES).to(torch.promote_types(x.dtype, torch.float32))
        weight = torch.sinc(t) * torch.cos(t * (math.pi / (2 * LOBES))).square() * (base / given)
        out += x.gather(1, (first + tap).clamp(max=x.size(1) - 1)) * weight.to(x.dtype)
    mask = first >= real[:, None]
    return out.masked_fill(mask, 0.0), mask
