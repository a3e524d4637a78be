"""From a config to the modules and the windows it describes."""

from dataclasses import dataclass

from device_models.sasrec import SASRec, SASRecConfig
from toolchain.data import Interactions, load_interactions
from toolchain.metanetwork import ItemContextEncoder, MetaNetwork
from toolchain.tasks.protocols import Windows, split_interactions
from toolchain.tasks.recommendation import Recommendation
from toolchain.training.config import Config, EncoderConfig, MetaNetworkConfig


def _sizes(config: EncoderConfig, n_items: int) -> SASRecConfig:
    return SASRecConfig(n_items, config.width, config.blocks, config.heads, config.history, config.dropout)


def build_device_model(config: Config, n_items: int) -> SASRec:
    return SASRec(_sizes(config.device_model, n_items))


def build_metanetwork(config: Config, sizes: MetaNetworkConfig, n_items: int) -> MetaNetwork:
    encoder = ItemContextEncoder(_sizes(sizes.context, n_items))
    return MetaNetwork(
        build_device_model(config, n_items), SASRec.generated, encoder, sizes.context.width, sizes.bound
    )


def build_task(config: Config, n_items: int) -> Recommendation:
    model, context = config.device_model, config.metanetwork and config.metanetwork.context
    return Recommendation(
        n_items=n_items,
        history=model.history,
        context_length=context.history if context else model.history,
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
    windows = Windows(
        interactions,
        split,
        refresh=config.refresh,
        context_length=config.metanetwork.context.history if config.metanetwork else 20 * config.refresh,
        history=config.device_model.history,
    )
    return Material(interactions, windows)
