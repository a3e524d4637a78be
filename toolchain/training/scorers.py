"""The methods under comparison, as modules from `Packs` to scores: the same code trains and tests them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from device_models.sasrec import MASKED, SASRec
from toolchain.metanetwork import ItemContextEncoder, MetaNetwork
from toolchain.tasks.recommendation import next_item_loss
from toolchain.tasks.windows import Packs


class Scores(NamedTuple):
    """`logits` fp32 [M, k, n_items], `target` int64 [M, k] (0: none), of the M packs that have a target."""

    logits: Tensor
    target: Tensor


class Loss(NamedTuple):
    """`total` is what is trained; `next_item` the part of it that both methods share."""

    total: Tensor
    next_item: Tensor


class StaticScorer(nn.Module):
    """The device model alone: one set of weights for everyone."""

    def __init__(self, device_model: SASRec) -> None:
        super().__init__()
        self.device_model = device_model

    def forward(self, packs: Packs) -> Scores:
        used = served(packs)
        logits = self.device_model.head(hidden_states(self.device_model, packs, used))
        return Scores(without_seen(logits, packs, used), packs.target[used])

    def loss(self, packs: Packs) -> Loss:
        next_item = next_item_loss(*self(packs))
        return Loss(next_item, next_item)


class GeneratedScorer(nn.Module):
    """The device model under the weights that the MetaNetwork generates for each pack.

    The loss adds what the context vector by itself makes of the same targets, weighted by `auxiliary_loss`. The
    projections start near zero and pass next to no gradient on to the context encoder; without this second
    way in, the encoder learns little before the fit is over.

    In training a `default_share` of the packs is the default pack, so that it serves well until the first push.
    """

    def __init__(
        self, metanetwork: MetaNetwork, auxiliary_loss: float = 0.0, default_share: float = 0.0
    ) -> None:
        super().__init__()
        self.metanetwork = metanetwork
        self.auxiliary_loss = auxiliary_loss
        self.default_share = default_share

    def forward(self, packs: Packs) -> Scores:
        used = served(packs)
        vector = self._vectors(packs, used)
        return self._scores(vector, _known(vector), packs, used)

    def loss(self, packs: Packs) -> Loss:
        used = served(packs)
        vector = self._vectors(packs, used)
        pushed = torch.rand(len(vector), device=vector.device) >= self.default_share
        logits, target = self._scores(vector, _known(vector) & pushed, packs, used)
        own = self._encoder.scores(vector)[:, None].expand_as(logits)
        auxiliary = next_item_loss(without_seen(own, packs, used), target)
        next_item = next_item_loss(logits, target)
        return Loss(next_item + self.auxiliary_loss * auxiliary, next_item)

    @property
    def _encoder(self) -> ItemContextEncoder:
        encoder = self.metanetwork.context_encoder
        assert isinstance(encoder, ItemContextEncoder)
        return encoder

    def _vectors(self, packs: Packs, used: Tensor) -> Tensor:
        """The context vector of every pack in use, fp32 [M, width]: one causal pass, read at each cut."""
        n_packs, refresh = packs.target.shape[1:]
        vectors = self._encoder.at_every_item(packs.context)
        return vectors[:, refresh - 1 :: refresh][:, -n_packs:][used]

    def _scores(self, vector: Tensor, pushed: Tensor, packs: Packs, used: Tensor) -> Scores:
        """`vector` fp32 [M, width]; where `pushed` bool [M] is not set, the default pack serves."""
        network = self.metanetwork
        generated = network.generate_from(vector)
        parameters = {
            name: torch.where(pushed.view(-1, *[1] * shared.dim()), generated[name], shared)
            for name, shared in network.static().items()
        }
        hidden = hidden_states(network.device_model, packs, used)
        assert isinstance(network.device_model, SASRec)
        with network.under(parameters):
            logits = network.device_model.head(hidden)
        return Scores(without_seen(logits, packs, used), packs.target[used])


def _known(vector: Tensor) -> Tensor:
    """bool [M]: whose context is not empty; a user who has uploaded nothing yet has the default pack."""
    return (vector != 0).any(dim=1)


def served(packs: Packs) -> Tensor:
    """bool [B, P]: the packs that have anything to predict."""
    return (packs.target != 0).any(dim=2)


def hidden_states(device_model: nn.Module, packs: Packs, used: Tensor) -> Tensor:
    """What the device model's head gets for each target of the packs in use, fp32 [M, k, d]."""
    assert isinstance(device_model, SASRec)
    history = packs.history[used]
    per_window = packs.target.shape[2] // history.shape[1]
    return device_model.encode(history.flatten(0, 1), last=per_window).reshape(
        len(history), packs.target.shape[2], -1
    )


def without_seen(logits: Tensor, packs: Packs, used: Tensor) -> Tensor:
    """Take what a user has seen before a target out of its running, in the softmax and in the ranking."""
    first_seen = packs.first_seen[used.nonzero()[:, 0]]
    return logits.masked_fill(first_seen[:, None] < packs.position[used][..., None], MASKED)
