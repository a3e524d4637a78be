"""The methods under comparison, as modules from a batch to logits: the same code trains and tests them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.metanetwork import MetaNetwork, under
from mnet.toolchain.tasks import Task
from mnet.toolchain.training.build import CLOUD, DIRECT, DISTILLED, EARLY, GENERATED, WORLD
from mnet.toolchain.training.config import Config


class Loss(NamedTuple):
    """`total` is what is trained; `task` the part of it that all methods share."""

    total: Tensor
    task: Tensor


class Scorer(nn.Module):
    """A method that is trained: from a batch to logits, and to what its fit lowers."""

    def __init__(self, task: Task[Any]) -> None:
        super().__init__()
        self.task = task

    def forward(self, batch: Any) -> Tensor:
        """fp32 [N, classes], as of `Task.outputs`."""
        raise NotImplementedError

    def loss(self, batch: Any) -> Loss:
        raise NotImplementedError


class StaticScorer(Scorer):
    """A device model alone: one set of weights for everyone."""

    def __init__(self, task: Task[Any], model: nn.Module) -> None:
        super().__init__(task)
        self.model = model

    def forward(self, batch: Any) -> Tensor:
        return self.task.outputs(self.model, batch)

    def loss(self, batch: Any) -> Loss:
        loss = self.task.loss(self(batch), batch)
        return Loss(loss, loss)


class DistilledScorer(StaticScorer):
    """A device model that learns from a finished teacher too (Hinton et al. 2015, arXiv:1503.02531).

    The loss is (1 - share) * task + share * T^2 * KL(teacher / T || student / T).
    """

    def __init__(
        self, task: Task[Any], model: nn.Module, teacher: nn.Module, share: float, temperature: float
    ) -> None:
        super().__init__(task, model)
        self._teacher = (teacher.eval(),)  # in a tuple: not a part of what is trained and saved
        self.share = share
        self.temperature = temperature

    def loss(self, batch: Any) -> Loss:
        logits = self(batch)
        (teacher,) = self._teacher
        with torch.no_grad():
            taught = self.task.outputs(teacher, batch)
        real = self.task.has_target(batch)
        distance = functional.kl_div(
            (logits[real] / self.temperature).log_softmax(dim=1),
            (taught[real] / self.temperature).log_softmax(dim=1),
            reduction="batchmean",
            log_target=True,
        )
        loss = self.task.loss(logits, batch)
        return Loss((1 - self.share) * loss + self.share * self.temperature**2 * distance, loss)


class GeneratedScorer(Scorer):
    """The device model under the weights that the MetaNetwork generates for each pack.

    The loss adds what the context vector by itself makes of the same targets, weighted by `auxiliary_loss`. The
    projections start near zero and pass next to no gradient on to the context encoder; without this second
    way in, the encoder learns little before the fit is over.

    In training a `default_share` of the packs is the default pack, so that it serves well until the first push.
    """

    def __init__(
        self,
        task: Task[Any],
        metanetwork: MetaNetwork,
        auxiliary_loss: float = 0.0,
        default_share: float = 0.0,
    ) -> None:
        super().__init__(task)
        self.metanetwork = metanetwork
        self.auxiliary_loss = auxiliary_loss
        self.default_share = default_share

    def forward(self, batch: Any) -> Tensor:
        return self.logits(self.packs(batch), batch)

    def loss(self, batch: Any) -> Loss:
        vectors = self.task.vectors(self.metanetwork, batch)
        pushed = torch.rand(len(vectors), device=vectors.device) >= self.default_share
        loss = self.task.loss(self.logits(self._generated(vectors, pushed), batch), batch)
        if not self.auxiliary_loss:
            return Loss(loss, loss)
        auxiliary = self.task.context_loss(self.metanetwork, vectors, batch)
        return Loss(loss + self.auxiliary_loss * auxiliary, loss)

    def packs(self, batch: Any) -> dict[str, Tensor]:
        """What is generated for each pack of the batch, fp32 [M, *shape]; the shared weights where nothing is known."""
        return self.packs_of(self.task.vectors(self.metanetwork, batch))

    def packs_of(self, vectors: Tensor) -> dict[str, Tensor]:
        """As `packs`, from `vectors` fp32 [M, width]; the shared weights where one is zero."""
        return self._generated(vectors, torch.ones(len(vectors), dtype=torch.bool, device=vectors.device))

    def logits(self, parameters: dict[str, Tensor], batch: Any) -> Tensor:
        """What the device model makes of the batch, each pack under its own `parameters` fp32 [M, *shape]."""
        return self.task.outputs(self.metanetwork.under(parameters), batch)

    def _generated(self, vectors: Tensor, pushed: Tensor) -> dict[str, Tensor]:
        """`vectors` fp32 [M, width]; where `pushed` bool [M] is not set, the default pack serves.

        It also serves a user who has uploaded nothing yet, whose vector is zero.
        """
        pushed = pushed & (vectors != 0).any(dim=1)
        generated = self.metanetwork.generate_from(vectors)
        return {
            name: torch.where(pushed.view(-1, *[1] * shared.dim()), generated[name], shared)
            for name, shared in self.metanetwork.static().items()
        }


class FineTunedScorer(nn.Module):
    """The static model after some steps of Adam on each pack's own context: what training on the device would give.

    All packs of a batch are tuned side by side, each with parameters of its own; nothing here is trained.
    """

    def __init__(
        self, task: Task[Any], model: nn.Module, tuned: tuple[str, ...], learning_rate: float, steps: int
    ) -> None:
        super().__init__()
        self.task = task
        self.model = model
        self.tuned = tuned
        self.learning_rate = learning_rate
        self.steps = steps

    def forward(self, batch: Any) -> Tensor:
        return self.task.outputs(under(self.model, self.packs(batch)), batch)

    def packs(self, batch: Any) -> dict[str, Tensor]:
        """The tuned parameters of each pack of the batch, fp32 [M, *shape]."""
        packs = len(self.task.devices(batch))
        start = {name: self.model.get_parameter(name).detach() for name in self.tuned}
        tuned = {name: value.expand(packs, *value.shape).clone() for name, value in start.items()}
        with torch.enable_grad():
            leaves = [value.requires_grad_() for value in tuned.values()]
            optimizer = torch.optim.Adam(leaves, self.learning_rate)
            for _ in range(self.steps):
                optimizer.zero_grad()
                self.task.own_loss(under(self.model, tuned), batch).sum().backward(inputs=leaves)
                optimizer.step()
        return {name: value.detach() for name, value in tuned.items()}


class WorldScorer(Scorer):
    """A device model under the parameters that carry the state of the world, the same for everyone at one moment.

    The device model is finished, and stays as it is: what is trained is the generator. With `personal`, the MetaNetwork
    of that device model adds what it generates from each device's own context.
    """

    def __init__(
        self,
        task: Task[Any],
        model: nn.Module,
        generator: nn.Module,
        personal: GeneratedScorer | None = None,
    ) -> None:
        super().__init__(task)
        # In a tuple: not a part of what is trained and saved. Nor are gradients of it worth their time.
        self._finished = (model.eval().requires_grad_(False), personal)
        self.generator = generator

    def forward(self, batch: Any) -> Tensor:
        model, _ = self._finished
        return self.task.outputs(under(model, self.packs(batch)), batch)

    def packs(self, batch: Any) -> dict[str, Tensor]:
        """The parameters of each pack of the batch, fp32 [M, *shape]."""
        model, personal = self._finished
        world = self.task.world_pack(self.generator, model, batch.world)
        own = personal.packs(batch) if personal else {}
        return own | {name: values[batch.moment] for name, values in world.items()}

    def loss(self, batch: Any) -> Loss:
        loss = self.task.loss(self(batch), batch)
        return Loss(loss, loss)


def training_scorer(name: str, task: Task[Any], config: Config, modules: Mapping[str, nn.Module]) -> Scorer:
    """The method `name`, to train `modules[name]`; what it learns from has been trained before."""
    module = modules[name]
    if name == DISTILLED:
        assert config.distillation
        settings = config.distillation
        return DistilledScorer(task, module, modules[CLOUD], settings.share, settings.temperature)
    if name == DIRECT:
        assert isinstance(module, MetaNetwork)
        assert config.metanetwork
        return GeneratedScorer(task, module, config.metanetwork.auxiliary_loss)
    if name == GENERATED:
        assert isinstance(module, MetaNetwork)
        assert config.metanetwork
        return GeneratedScorer(
            task, module, config.metanetwork.auxiliary_loss, config.metanetwork.default_share
        )
    if name == WORLD:
        return WorldScorer(task, modules[EARLY], module)
    return StaticScorer(task, module)
