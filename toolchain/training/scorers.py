"""The methods under comparison, as modules from `Packs` to logits: the same code trains and evaluates them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from device_models.sasrec import MASKED, SASRec
from toolchain.metanetwork import MetaNetwork
from toolchain.tasks.protocols import Packs


class Scores(NamedTuple):
    """`logits` fp32 [M, k, n_items] and `target` int64 [M, k] (0: none) of the M packs that have a target."""

    logits: Tensor
    target: Tensor


class StaticScorer(nn.Module):
    """The device model alone: one set of weights for everyone."""

    def __init__(self, device_model: SASRec) -> None:
        super().__init__()
        self.device_model = device_model

    def forward(self, packs: Packs) -> Scores:
        used = served(packs)
        hidden = last_hidden(self.device_model, packs.history[used])
        return Scores(without_seen(self.device_model.head(hidden), packs, used), packs.target[used])


class GeneratedScorer(nn.Module):
    """The device model under the weights that the MetaNetwork generates for each pack."""

    def __init__(self, metanetwork: MetaNetwork) -> None:
        super().__init__()
        self.metanetwork = metanetwork

    def forward(self, packs: Packs) -> Scores:
        used = served(packs)
        network = self.metanetwork
        vector = context_vectors(network.context_encoder, packs)[used]
        generated = network.generate_from(vector)
        # A user who has uploaded nothing yet has the default pack.
        known = (vector != 0).any(dim=1)
        parameters = {
            name: torch.where(known.view(-1, *[1] * shared.dim()), generated[name], shared)
            for name, shared in network.static().items()
        }
        hidden = last_hidden(network.device_model, packs.history[used])
        logits = network.call_head(parameters, hidden)
        return Scores(without_seen(logits, packs, used), packs.target[used])


def served(packs: Packs) -> Tensor:
    """bool [B, P]: the packs that have anything to predict."""
    return (packs.target != 0).any(dim=2)


def without_seen(logits: Tensor, packs: Packs, used: Tensor) -> Tensor:
    """Take what each user has seen before a target out of the running: out of the softmax, and out of the ranking."""
    first_seen = packs.first_seen[used.nonzero()[:, 0]]
    return logits.masked_fill(first_seen[:, None] < packs.position[used][..., None], MASKED)


def last_hidden(device_model: nn.Module, history: Tensor) -> Tensor:
    """`history` int64 [M, k, L] -> hidden fp32 [M, k, d] at the last position."""
    return device_model.encode(history.flatten(0, 1), last=1)[:, -1].unflatten(0, history.shape[:2])


def context_vectors(encoder: nn.Module, packs: Packs) -> Tensor:
    """The context vector of every pack, fp32 [B, P, width]: one causal pass, read at each cut."""
    n_packs, refresh = packs.target.shape[1:]
    return encoder.at_every_item(packs.context)[:, refresh - 1 :: refresh][:, -n_packs:]
