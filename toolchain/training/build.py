"""From a config to the task, the data and the modules that it describes."""

import copy
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.metanetwork.context_class_prior import ClassPriorContext
from mnet.toolchain.metanetwork.context_images import ImageReader
from mnet.toolchain.metanetwork.factors import with_factors
from mnet.toolchain.settings import Part
from mnet.toolchain.tasks import Task, find_task
from mnet.toolchain.training.config import Config, FitConfig, task_settings

STATIC, CLOUD, DISTILLED, DIRECT, GENERATED = "static", "cloud", "distillation", "direct", "metanetwork"
FINE_TUNED = "fine-tuning"
EARLY, WORLD, BOTH = "early static", "world pack", "metanetwork + world"


def load_data(config: Config) -> Any:
    """The data set, in the task's own form. Raises UserError."""
    data = config.data
    return find_task(config.task.name).load(data.name, data.path, **data.settings)


def build_task(config: Config, facts: Mapping[str, Any]) -> Task[Any]:
    """The task, from what is known of the data. Raises UserError."""
    context = config.metanetwork.context if config.metanetwork else None
    task = find_task(config.task.name)
    if config.fine_tuning and task.own_loss is Task.own_loss:
        raise UserError(
            f"task {config.task.name} has no own_loss to fine-tune by: leave fine_tuning out of the config"
        )
    created = task.create(task_settings(config), facts, config.model, context)
    for steps in config.on_device:
        by_cloud = created.on_device(steps.split("+")).by_cloud
        if by_cloud and not config.cloud:
            raise UserError(f"on_device: {steps} looks through the cloud model; add a cloud section")
        if by_cloud and config.equal_cost == steps:
            raise UserError(f"equal_cost: {steps} takes a cloud; name a method that a device has by itself")
    return created


def cloud_training(config: Config) -> Config:
    """The config as the cloud model is trained: with its own changes to the task section."""
    assert config.cloud
    part = Part.model_validate(config.task.model_dump() | config.cloud.task)
    return config.model_copy(update={"task": part})


def fits(config: Config) -> dict[str, FitConfig]:
    """What the config trains, by the name of the method, in order: a student comes after its teacher."""
    sections = {
        STATIC: config.static,
        CLOUD: config.cloud and config.cloud.fit,
        DISTILLED: config.distillation and config.distillation.fit,
        DIRECT: config.direct and config.direct.fit,
        GENERATED: config.metanetwork and config.metanetwork.fit,
        EARLY: config.static if config.world else None,
        WORLD: config.world and config.world.fit,
    }
    return {name: fit for name, fit in sections.items() if fit}


def kept(config: Config) -> tuple[str, ...]:
    """The methods whose modules a run keeps: all but the early static model, which only teaches."""
    return tuple(name for name in fits(config) if name != EARLY)


def build_module(name: str, task: Task[Any], config: Config) -> nn.Module:
    """The module that the method trains, with fresh weights. Raises UserError."""
    if name == CLOUD:
        assert config.cloud
        return task.device_model(config.cloud.model)
    if name in (DIRECT, GENERATED):
        return _build_metanetwork(task, config, direct=name == DIRECT)
    if name == WORLD:
        assert config.world
        return task.world_generator(**config.world.model_dump(exclude={"fit"}))
    return task.device_model(config.model)


def initial_module(name: str, task: Task[Any], config: Config, data: Any) -> nn.Module:
    """As `build_module`, with its device model as the task starts it on this data."""
    module = build_module(name, task, config)
    model = module.device_model if isinstance(module, MetaNetwork) else module
    (task.earlier() if name == EARLY else task).initialize(model, data)
    return module


def generated_names(config: Config, device_model: nn.Module) -> tuple[str, ...]:
    """The parameters to generate: those of the config, or else what the device model names itself.

    A name with `*`, `?` or `[` stands for all parameters that it matches, in the model's order. UserError for none.
    """
    chosen = config.metanetwork.generated if config.metanetwork else None
    wanted: tuple[str, ...] = chosen or tuple(getattr(device_model, "generated", ()))
    return _matched("metanetwork.generated", wanted, device_model)


def to_fine_tune(config: Config, static: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The static model as a device would tune it, and the parameters that it tunes: what is generated, in its form."""
    names, settings = generated_names(config, static), config.metanetwork
    if settings is None or settings.form != "low-rank" or settings.rank is None:
        return static, names
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = copy.deepcopy(static)
        return model, with_factors(model, names, settings.rank)


def _matched(key: str, patterns: Sequence[str], device_model: nn.Module) -> tuple[str, ...]:
    own = [name for name, _ in device_model.named_parameters()]
    names: list[str] = []
    for pattern in patterns:
        found = fnmatch.filter(own, pattern) if any(sign in pattern for sign in "*?[") else [pattern]
        if not found:
            raise UserError(f"{key}: no parameter is called {pattern}; the model has {', '.join(own)}")
        names += [name for name in found if name not in names or name == pattern]
    return tuple(names)


def _freeze(device_model: nn.Module, patterns: Sequence[str]) -> None:
    """Have these parameters keep their values in a fit."""
    for name in _matched("metanetwork.freeze", patterns, device_model):
        try:
            device_model.get_parameter(name).requires_grad_(False)
        except AttributeError:
            raise UserError(f"metanetwork.freeze: no parameter is called {name}") from None


def _build_metanetwork(task: Task[Any], config: Config, direct: bool) -> MetaNetwork:
    settings = config.metanetwork
    assert settings
    device_model = task.device_model(config.model)
    names = generated_names(config, device_model)
    _freeze(device_model, settings.freeze)
    encoder = task.context_encoder(settings.context)
    if config.cloud and isinstance(encoder, ImageReader):
        encoder.look_through(task.device_model(config.cloud.model))
    elif isinstance(encoder, ClassPriorContext):
        raise UserError("the context encoder class-prior looks through the cloud model; add a cloud section")
    try:
        if direct:
            return MetaNetwork(device_model, names, encoder, form="full", bound=None)
        network = MetaNetwork(
            device_model,
            names,
            encoder,
            form=settings.form,
            rank=settings.rank,
            bound=settings.bound,
            windows=settings.windows,
        )
        if isinstance(encoder, ClassPriorContext):
            encoder.begin(network.generator)
        return network
    except ValueError as error:
        raise UserError(f"metanetwork: {error}") from None
