"""MetaGenerator, MetaStabilizer and MetaNetwork. Know tensors and modules; no task, no file format."""

from toolchain.metanetwork.check import check_generated
from toolchain.metanetwork.context import ContextEncoder
from toolchain.metanetwork.context_sequences import (
    SEQUENCE_ENCODERS,
    GRUContext,
    ItemContextEncoder,
    MovingAverages,
    SelfAttentionContext,
)
from toolchain.metanetwork.context_sets import SetContext
from toolchain.metanetwork.generator import Form, MetaGenerator
from toolchain.metanetwork.network import MetaNetwork
from toolchain.metanetwork.per_pack import call, call_alike, under
from toolchain.metanetwork.stabilizer import MetaStabilizer, smooth

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
    "call",
    "call_alike",
    "check_generated",
    "smooth",
    "under",
]
