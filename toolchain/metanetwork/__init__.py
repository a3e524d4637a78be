"""MetaGenerator, MetaStabilizer and MetaNetwork. Know tensors and modules; no task, no file format."""

from mnet.toolchain.metanetwork.check import check_generated
from mnet.toolchain.metanetwork.context import ContextEncoder
from mnet.toolchain.metanetwork.context_sequences import (
    SEQUENCE_ENCODERS,
    GRUContext,
    ItemContextEncoder,
    MovingAverages,
    SelfAttentionContext,
)
from mnet.toolchain.metanetwork.context_sets import SetContext
from mnet.toolchain.metanetwork.generator import Form, MetaGenerator
from mnet.toolchain.metanetwork.network import MetaNetwork
from mnet.toolchain.metanetwork.per_pack import call, call_alike, for_all, under
from mnet.toolchain.metanetwork.stabilizer import MetaStabilizer, smooth
from mnet.toolchain.metanetwork.world import World, WorldGenerator

__all__ = [
    "SEQUENCE_ENCODERS",
    "ContextEncoder",
    "Form",
    "GRUContext",
    "ItemContextEncoder",
    "MetaGenerator",
    "MetaNetwork",
    "MetaStabilizer",
    "MovingAverages",
    "SelfAttentionContext",
    "SetContext",
    "World",
    "WorldGenerator",
    "call",
    "call_alike",
    "check_generated",
    "for_all",
    "smooth",
    "under",
]
