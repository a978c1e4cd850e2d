"""Losses over shares: the sum over a batch, in nats, with smoothing, class weights, focus and logit adjustment.

B batch, K classes. `shares` say how much of the truth each class has: one-hot rows for hard labels, the shares of the
annotators' votes for soft ones.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

REGRESSION = {"l1": F.l1_loss, "mse": F.mse_loss}


@dataclass(frozen=True)
class LossOptions:
    """How the loss of one target is computed; as given here it is plain cross-entropy, or L1 for a number.

    Args:
        smoothing: share of the truth that is spread evenly over the classes, or over yes and no (Szegedy et al. 2016,
            section 7).
        gamma: focus: a term with probability p counts (1 - p)^gamma as much (Lin et al. 2017, section 3.2).
        weights: factor of each class, or of the yes of each class; shape (K,).
        adjustment: added to the logits: tau times the log prior of the classes (Menon et al. 2021, section 5), so that
            a rare class needs as large a margin as a frequent one; shape (K,). Predictions use the bare logits.
        regression: a name of `REGRESSION`.
    """

    smoothing: float = 0.0
    gamma: float = 0.0
    weights: Tensor | None = None
    adjustment: Tensor | None = None
    regression: str = "l1"


PLAIN = LossOptions()


def softmax_loss(logits: Tensor, shares: Tensor, options: LossOptions = PLAIN) -> Tensor:
    """Cross-entropy of one class out of K. `logits` and `shares` (B, K); a scalar."""
    logits = _adjusted(logits, options)
    shares = shares.float() * (1 - options.smoothing) + options.smoothing / shares.size(-1)
    terms = _focused(shares, logits.log_softmax(-1), options.gamma)
    if options.weights is not None:
        terms = terms * options.weights.to(terms)
    return terms.sum()


def sigmoid_loss(logits: Tensor, shares: Tensor, options: LossOptions = PLAIN) -> Tensor:
    """Binary cross-entropy of K yes-no decisions, summed over them. `logits` of yes and `shares` (B, K); a scalar."""
    logits = _adjusted(logits, options)
    shares = shares.float() * (1 - options.smoothing) + options.smoothing / 2
    yes = _focused(shares, F.logsigmoid(logits), options.gamma)
    no = _focused(1 - shares, F.logsigmoid(-logits), options.gamma)
    if options.weights is not None:
        yes = yes * options.weights.to(yes)
    return (yes + no).sum()


def _adjusted(logits: Tensor, options: LossOptions) -> Tensor:
    logits = logits.float()
    return logits if options.adjustment is None else logits + options.adjustment.to(logits)


def _focused(shares: Tensor, log_probability: Tensor, gamma: float) -> Tensor:
    terms = -shares * log_probability
    if not gamma:
        return terms
    rest = -torch.expm1(log_probability)
    return terms * rest.clamp(min=torch.finfo(rest.dtype).tiny).pow(gamma)  # below gamma 1, 0 has no gradient
