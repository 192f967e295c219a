"""What a draft is taught by, as pure functions of one distribution over a state's children. Source: docs/method.md.

Shapes: `q` draft logits and `p` target log-probabilities, float32 [..., C]; `allowed` bool [..., C] marks the children.
Each returns one value a state, [...], in nats (or, for a distance, between 0 and 1). Forbidden entries may hold
anything; they neither count nor receive a gradient. A state with a single child costs nothing: there the trie decides.
"""

import torch
from torch import Tensor

FORBIDDEN = torch.finfo(torch.float32).min / 1e6
"""Stands for the log-probability -inf, whose differences and gradients would be NaN."""


def log_softmax(logits: Tensor, allowed: Tensor) -> Tensor:
    """Log-softmax over the allowed entries; elsewhere a large negative number, not -inf: gradients stay finite."""
    return logits.masked_fill(~allowed, FORBIDDEN).log_softmax(-1)


def cross_entropy(q: Tensor, counts: Tensor, allowed: Tensor) -> Tensor:
    """seqkd: -sum over children of `counts` * log q, the cross-entropy of the sequences that take each child."""
    return -(counts * log_softmax(q, allowed)).masked_fill(~allowed, 0).sum(-1)


def forward_kl(p: Tensor, q: Tensor, allowed: Tensor) -> Tensor:
    """wordkd, treekd, and the distillation of the first draft: KL(p || q)."""
    return _kl(log_softmax(p, allowed), log_softmax(q, allowed), allowed)


def total_variation(p: Tensor, q: Tensor, allowed: Tensor, *, temperature: float = 1.0) -> Tensor:
    """tvdkd, atspeed_r: half the L1 distance of softmax(logits / temperature); relaxed acceptance is 1 minus this."""
    return 0.5 * (_probabilities(p, allowed, temperature) - _probabilities(q, allowed, temperature)).abs().sum(-1)


def atspeed_s(
    p: Tensor,
    q: Tensor,
    allowed: Tensor,
    *,
    k: int,
    temperature: float = 1.0,
    softmax_of: str = "logits",
    density: str = "draft",
) -> Tensor:
    """Alignment for strict verification: KL(q~ || p~) + p~_K H(q~) over S_q, the draft's `k` likeliest children.

    q~ and p~ are renormalised over S_q, H is the entropy, and p~_K the target's share of the draft's k-th child (the
    last one, where there are fewer): weight that the target puts at the border of what the draft keeps makes q sharp.

    `density="target"` reads p~_K as the target's own k-th largest probability among all children instead; "off" leaves
    the term out. `softmax_of="probabilities"` is the authors' form, softmax(probabilities / temperature).
    """
    p, q = log_softmax(p, allowed), log_softmax(q, allowed)
    children = allowed.sum(-1, keepdim=True).clamp(min=1, max=k)  # how many of the k likeliest exist
    own = p.sort(-1, descending=True).values.gather(-1, children - 1).squeeze(-1).exp()
    ranked = q.detach().topk(min(k, q.shape[-1]), -1).indices
    p, q, allowed = (x.gather(-1, ranked) for x in (p, q, allowed))
    if softmax_of == "probabilities":
        p, q = p.exp(), q.exp()
    p, q = (log_softmax(x / temperature, allowed) for x in (p, q))
    value = _kl(q, p, allowed)
    if density == "off":
        return value
    p_k = own if density == "target" else p.gather(-1, children - 1).squeeze(-1).exp()
    return value - p_k * (q.exp() * q).masked_fill(~allowed, 0).sum(-1)


def atspeed_r(p: Tensor, q: Tensor, allowed: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Alignment for relaxed verification: the total variation distance, logits divided by `temperature`."""
    return total_variation(p, q, allowed, temperature=temperature)


def _probabilities(logits: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    return log_softmax(logits / temperature, allowed).exp().masked_fill(~allowed, 0)


def _kl(log_a: Tensor, log_b: Tensor, allowed: Tensor) -> Tensor:
    """KL(a || b)."""
    return (log_a.exp() * (log_a - log_b)).masked_fill(~allowed, 0).sum(-1)
