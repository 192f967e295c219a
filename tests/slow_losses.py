"""The alignment terms once more, as plain Python over lists, written from docs/method.md's formulas, to compare."""

import math
from collections.abc import Sequence


def softmax(values: Sequence[float], temperature: float = 1.0) -> list[float]:
    top = max(values)
    weights = [math.exp((value - top) / temperature) for value in values]
    return [weight / sum(weights) for weight in weights]


def cross_entropy(q: Sequence[float], counts: Sequence[float]) -> float:
    return -sum(count * math.log(share) for count, share in zip(counts, softmax(q), strict=True) if count)


def kl(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * (math.log(x) - math.log(max(y, 1e-300))) for x, y in zip(a, b, strict=True) if x)


def forward_kl(p: Sequence[float], q: Sequence[float]) -> float:
    return kl(softmax(p), softmax(q))


def total_variation(p: Sequence[float], q: Sequence[float], temperature: float = 1.0) -> float:
    return sum(abs(x - y) for x, y in zip(softmax(p, temperature), softmax(q, temperature), strict=True)) / 2


def atspeed_s(
    p: Sequence[float], q: Sequence[float], *, k: int, temperature: float, softmax_of: str, density: str
) -> float:
    """Reverse KL(q~ || p~) + p~_K * H(q~), over the draft's k likeliest children."""
    own = sorted(softmax(p), reverse=True)[: min(k, len(p))][-1]
    kept = sorted(range(len(q)), key=lambda child: -q[child])[:k]
    if softmax_of == "probabilities":
        p, q = softmax(p), softmax(q)
    p_kept, q_kept = (softmax([values[child] for child in kept], temperature) for values in (p, q))
    entropy = -sum(share * math.log(share) for share in q_kept if share)
    return kl(q_kept, p_kept) + {"draft": p_kept[-1], "target": own, "off": 0.0}[density] * entropy
