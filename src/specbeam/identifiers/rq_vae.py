"""RQ-VAE: an autoencoder whose latent is residually quantised, as in TIGER (Rajput et al. 2023) and LC-Rec.

The quantiser is that of vector-quantize-pytorch: codebooks that start from k-means and follow their codewords' means.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from specbeam.identifiers.quantise import Quantiser, checked
from specbeam.progress import Bar
from specbeam.settings import RqVaeSettings

DEAD = 1.0
"""A codeword whose running count of items falls below this is set to an item of the batch."""


def rq_vae(vectors: np.ndarray, sizes: Sequence[int], *, settings: RqVaeSettings, seed: int) -> Quantiser:
    """Train on `vectors`, float32 [items, width]; the quantiser is over the encoder's latents.

    Runs on the CPU, in one thread: equal arguments give equal codebooks.
    """
    vectors = checked(vectors)
    spread = float(vectors.std()) or 1.0  # embeddings of unit length have small numbers, and losses would be tiny
    inputs = torch.from_numpy(vectors / spread)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):  # the package draws from the global generator
            torch.manual_seed(seed)
            encoder, quantiser, decoder = _parts(vectors.shape[1], sizes, settings)
            _train(encoder, quantiser, decoder, inputs, settings)
        with torch.inference_mode():
            latents = encoder(inputs).numpy()
    finally:
        torch.set_num_threads(threads)
    codebooks = tuple(layer.codebook.detach().float().numpy().copy() for layer in quantiser.layers)

    def decode(latents: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return decoder(torch.from_numpy(latents)).numpy() * spread

    return Quantiser(latents, codebooks, decode)


def _parts(width: int, sizes: Sequence[int], settings: RqVaeSettings) -> tuple[nn.Module, nn.Module, nn.Module]:
    from vector_quantize_pytorch import ResidualVQ

    widths = [width, *settings.hidden, settings.latent]
    quantiser = ResidualVQ(
        dim=settings.latent,
        codebook_size=tuple(sizes),
        kmeans_init=True,
        decay=settings.decay,
        commitment_weight=settings.commitment,
        threshold_ema_dead_code=DEAD,
    )
    return _perceptron(widths), quantiser, _perceptron(widths[::-1])


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    layers = [layer for inner, outer in pairwise(widths) for layer in (nn.Linear(inner, outer), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def _train(
    encoder: nn.Module, quantiser: nn.Module, decoder: nn.Module, inputs: torch.Tensor, settings: RqVaeSettings
) -> None:
    optimizer = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], lr=settings.learning_rate)
    for _ in Bar(range(settings.epochs), desc="rq-vae"):
        for batch in torch.randperm(len(inputs)).split(settings.batch_size):
            quantised, _, commitment = quantiser(encoder(inputs[batch]).unsqueeze(0))
            loss = F.mse_loss(decoder(quantised.squeeze(0)), inputs[batch]) + commitment.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
