"""From a config to the modules and the windows it describes."""

from dataclasses import dataclass

from device_models.sasrec import SASRec, SASRecConfig
from toolchain.data import Interactions, load_interactions
from toolchain.errors import UserError
from toolchain.metanetwork import MetaNetwork, MovingAverages
from toolchain.tasks.protocols import split_interactions
from toolchain.tasks.recommendation import Recommendation
from toolchain.tasks.windows import Windows
from toolchain.training.config import Config, MetaNetworkConfig


def build_device_model(config: Config, n_items: int) -> SASRec:
    sizes = config.device_model
    return SASRec(SASRecConfig(n_items, sizes.width, sizes.blocks, sizes.heads, sizes.history, sizes.dropout))


def build_metanetwork(config: Config, settings: MetaNetworkConfig, n_items: int) -> MetaNetwork:
    sizes = settings.context
    encoder = MovingAverages(
        n_items, sizes.width, sizes.length, sizes.averages, sizes.blocks, sizes.dropout
    )
    device_model = build_device_model(config, n_items)
    return MetaNetwork(device_model, SASRec.generated, encoder, bound=settings.bound)


def build_task(config: Config, n_items: int) -> Recommendation:
    model, context = config.device_model, config.metanetwork and config.metanetwork.context
    return Recommendation(
        n_items=n_items,
        history=model.history,
        context_length=context.length if context else model.history,
        candidates=min(model.candidates, n_items),
    )


@dataclass(frozen=True)
class Material:
    """A config's data set and what is cut from it."""

    interactions: Interactions
    windows: Windows


def load_material(config: Config) -> Material:
    """Load and split the data. Raises UserError."""
    interactions = load_interactions(config.data.name, config.data.path)
    split = split_interactions(interactions, config.protocol, config.rolling.train, config.rolling.validation)
    for part, begins, ends in (
        ("train", interactions.offsets[:-1], split.validation),
        ("validate", split.validation, split.test),
        ("test", split.test, split.end),
    ):
        if (begins == ends).all():
            raise UserError(f"{config.data.name}: {config.protocol} leaves nothing to {part} on")
    windows = Windows(
        interactions,
        split,
        ranking=config.ranking,
        refresh=config.refresh,
        context_length=config.metanetwork.context.length if config.metanetwork else 20 * config.refresh,
        history=config.device_model.history,
        shared_windows=config.shared_windows,
    )
    return Material(interactions, windows)
