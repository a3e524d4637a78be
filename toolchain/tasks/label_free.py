"""What a phone can do for a classifier with unlabelled images alone: no label, no gradient, no cloud.

Steps, taken in this order, each by itself or together with others:

statistics   the first BatchNorms take mean and variance partly from the context (Schneider et al. 2020,
             arXiv:2006.16971)
centring     the classifier's features are moved by what the context's are away from the training data's, given the
             classes that the context seems to hold
t3a          the classifier's weights become the means of the context's features that are surest of each class
             (Iwasawa and Matsuo, NeurIPS 2021)
label-prior  the device's class prior, estimated by EM from the soft predictions of the context (Saerens, Latinne and
             Decaestecker 2002, doi:10.1162/089976602753284446), is added to the classifier's biases: one number a class

And one that takes the place of the last and needs a cloud, to tell what one is worth that pushes a number a class:

cloud-prior  the same EM on what a classifier that no phone runs makes of the context: an upload of the images
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice, product
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain.metanetwork.label_prior import label_prior
from mnet.toolchain.tasks.on_device import Settings
from mnet.toolchain.tasks.splits import Splits

CLOUD_PRIOR = "cloud-prior"
PRIORS = ("label-prior", CLOUD_PRIOR)  # one of these at most
STEPS = ("statistics", "centring", "t3a", *PRIORS)
# What is tried on the validation devices for each step; the middle one is what it starts from.
GRID: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "statistics": {"layers": (1, 2, 3, 4), "share": (0.25, 0.5, 0.75, 1.0)},
    "centring": {"centred": (0.25, 0.5, 0.75, 1.0)},
    "t3a": {"supports": (1, 2, 4, 8, 16, 32)},
    "label-prior": {"temperature": (0.6, 0.8, 1.0, 1.25, 1.6, 2.0), "smoothing": (0.3, 1.0, 3.0, 10.0, 30.0)},
    CLOUD_PRIOR: {
        "temperature": (0.8, 1.0, 1.25, 1.6),
        "cloud_temperature": (0.6, 1.0, 1.6, 2.5),
        "smoothing": (0.3, 1.0, 3.0, 10.0, 30.0),
    },
}
# Of 16 training devices each, to know the mean features of a class by.
SOURCE_BATCHES = 16


class ImageBatch(Protocol):
    """M devices: `context` uint8 [M, n, 3, H, W] without labels, `image` uint8 [M, k, 3, H, W] to classify."""

    @property
    def context(self) -> Tensor: ...

    @property
    def image(self) -> Tensor: ...


class Source(NamedTuple):
    """What a phone is shipped of the training data.

    Attributes:
        share: fp32 [C], of each class.
        mean: fp32 [C, e], of the classifier's input in each class.
        cloud: the classifier that the cloud looks at uploaded images through, where there is one.
    """

    share: Tensor
    mean: Tensor
    cloud: nn.Module | None = None


class LabelFree:
    """The `steps`, in the order of `STEPS`; `as_input` is what makes of photos uint8 what the device model takes.

    Raises:
        ValueError: an unknown step, one twice, or two in the wrong order.
    """

    def __init__(self, steps: Sequence[str], as_input: Callable[[Tensor], Tensor]) -> None:
        if [step for step in STEPS if step in steps] != list(steps) or not steps:
            raise ValueError(f"{'+'.join(steps)}: expected some of {', '.join(STEPS)}, in this order")
        if {*PRIORS} <= {*steps}:
            raise ValueError(f"{'+'.join(steps)}: the prior is the phone's or the cloud's, not both")
        self.steps = tuple(steps)
        self.as_input = as_input

    @property
    def by_cloud(self) -> bool:
        """Whether it takes a cloud."""
        return CLOUD_PRIOR in self.steps

    @property
    def start(self) -> Settings:
        """The settings to start from."""
        return {name: values[len(values) // 2] for step in self.steps for name, values in GRID[step].items()}

    def around(self, step: str, settings: Settings) -> list[Settings]:
        """Everything that is tried for one step, with the others as in `settings`."""
        ranges = GRID[step]
        return [
            {**settings, **dict(zip(ranges, values, strict=True))} for values in product(*ranges.values())
        ]

    @torch.no_grad()
    def source(self, model: nn.Module, splits: Splits[Any], cloud: nn.Module | None = None) -> Source:
        """What a phone must know of the training data, from some thousands of its images."""
        hidden, labels = [], []
        for batch in islice(splits.training(16, seed=0), SOURCE_BATCHES):
            with _inputs_of(classifier(model)) as seen:
                model(self.as_input(batch.image.flatten(0, 1)))
            hidden.append(seen[-1])
            labels.append(batch.label.flatten())
        features, of = torch.cat(hidden), torch.cat(labels)
        one_hot = functional.one_hot(of, classifier(model).out_features).float()
        count = one_hot.sum(dim=0)
        return Source(count / count.sum(), one_hot.T @ features / count.clamp(min=1)[:, None], cloud)

    @torch.no_grad()
    def outputs(
        self, model: nn.Module, source: Source, batch: ImageBatch, trials: Sequence[Settings]
    ) -> Iterator[Tensor]:
        """fp32 [M * k, C] for each of `trials`, in their order; what those share is computed once."""
        images, n = torch.cat([batch.context, batch.image], dim=1), batch.context.shape[1]
        photos = self.as_input(images.flatten(0, 1))
        cloud = self._by_cloud(source, photos.unflatten(0, images.shape[:2])[:, :n])
        before: tuple[Any, ...] | None = None
        for settings in trials:
            key = (settings.get("layers", 0), settings.get("share", 0.0))
            if key != before:
                with ExitStack() as patches:
                    if "statistics" in self.steps:
                        patches.enter_context(context_statistics(model, *key, devices=len(images), context=n))
                    seen = patches.enter_context(_inputs_of(classifier(model))) if self.by_features else []
                    raw = model(photos).unflatten(0, images.shape[:2])
                features, before = seen[-1].unflatten(0, images.shape[:2]) if seen else None, key
            if features is None:
                adapted = self._by_prior(source, raw, n, cloud, settings)
            else:
                adapted = self._on_features(classifier(model), source, features, raw, n, cloud, settings)
            yield adapted[:, n:].flatten(0, 1)

    @property
    def by_features(self) -> bool:
        """Whether a step reads more of the device model than its logits."""
        return "centring" in self.steps or "t3a" in self.steps

    def _by_cloud(self, source: Source, photos: Tensor) -> Tensor | None:
        """What the cloud's classifier makes of the context [M, n, ...], logits fp32 [M, n, C], where it is asked."""
        if not self.by_cloud:
            return None
        assert source.cloud is not None
        logits: Tensor = source.cloud.eval()(photos.flatten(0, 1))
        return logits.unflatten(0, photos.shape[:2])

    def _prior(
        self, source: Source, logits: Tensor, n: int, cloud: Tensor | None, settings: Settings
    ) -> Tensor:
        """The class prior fp32 [M, C] of each device, from its own `logits` [M, n + k, C] or those of the `cloud`."""
        seen, heat = (logits[:, :n], "temperature") if cloud is None else (cloud, "cloud_temperature")
        probability = (seen / settings.get(heat, 1.0)).softmax(dim=2)
        return label_prior(probability, source.share, settings.get("smoothing", 1.0))

    def _on_features(
        self,
        last: nn.Linear,
        source: Source,
        features: Tensor,
        logits: Tensor,
        n: int,
        cloud: Tensor | None,
        settings: Settings,
    ) -> Tensor:
        """`features` fp32 [M, n + k, e] and `logits` [M, n + k, C] -> logits, the same shape."""
        if "centring" in self.steps:
            prior = self._prior(source, logits, n, cloud, settings)
            away = features[:, :n].mean(dim=1) - prior @ source.mean
            # Not by `last` itself: its bias stays.
            moved = functional.linear(settings["centred"] * away, last.weight)
            logits = logits - moved[:, None]
            features = features - settings["centred"] * away[:, None]
        if "t3a" in self.steps:
            logits = _prototypes(last.weight, features, logits, n, settings["supports"])
        return self._by_prior(source, logits, n, cloud, settings)

    def _by_prior(
        self, source: Source, logits: Tensor, n: int, cloud: Tensor | None, settings: Settings
    ) -> Tensor:
        if not {*PRIORS} & {*self.steps}:
            return logits
        prior = self._prior(source, logits, n, cloud, settings)
        return logits / settings["temperature"] + (prior / source.share).log()[:, None]


def _prototypes(weight: Tensor, features: Tensor, logits: Tensor, n: int, supports: int) -> Tensor:
    """T3A: as `logits`, at their scale, from the mean direction of each class's weight and its surest samples."""
    directions = functional.normalize(features, dim=2)
    seen = logits[:, :n].softmax(dim=2)
    entropy = -(seen * seen.clamp(min=1e-12).log()).sum(dim=2)
    chosen = functional.one_hot(seen.argmax(dim=2), logits.shape[2]).float()  # [M, n, C]
    rank = (entropy[:, None] < entropy[:, :, None]).float() @ chosen  # how many of each class are surer
    chosen = chosen * (rank < supports)
    own = functional.normalize(weight, dim=1)
    summed = own + chosen.transpose(1, 2) @ directions[:, :n]
    prototypes = summed / (1 + chosen.sum(dim=1))[..., None]
    cosine = directions @ prototypes.transpose(1, 2)
    return cosine * logits.std(dim=2, keepdim=True) / cosine.std(dim=2, keepdim=True).clamp(min=1e-6)


def classifier(model: nn.Module) -> nn.Linear:
    """The last Linear of a device model, which makes its logits. Raises ValueError where there is none."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no Linear to end with")
    return layers[-1]


@contextmanager
def _inputs_of(layer: nn.Linear) -> Iterator[list[Tensor]]:
    """What goes into `layer` while the context lasts."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def context_statistics(
    model: nn.Module, layers: int, share: float, devices: int, context: int
) -> Iterator[None]:
    """The first `layers` BatchNorms take a `share` of mean and variance from each device's first `context` images."""

    def take(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(module, nn.BatchNorm2d)
        assert module.running_mean is not None and module.running_var is not None
        rows = inputs[0].unflatten(0, (devices, -1))
        variance, mean = torch.var_mean(rows[:, :context], dim=(1, 3, 4), correction=0)  # [M, channels]
        mean = torch.lerp(module.running_mean.expand_as(mean), mean, share)
        variance = torch.lerp(module.running_var.expand_as(variance), variance, share)
        scale = module.weight / (variance + module.eps).sqrt()
        shift = module.bias - mean * scale
        moved = rows * scale[:, None, :, None, None] + shift[:, None, :, None, None]
        return moved.flatten(0, 1)

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)][:layers]
    handles = [norm.register_forward_hook(take) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
