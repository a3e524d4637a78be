"""MetaGenerator, MetaStabilizer and MetaNetwork. Know tensors and modules; no task, no file format."""

from toolchain.metanetwork.context import ItemContextEncoder
from toolchain.metanetwork.generator import MetaGenerator
from toolchain.metanetwork.network import MetaNetwork
from toolchain.metanetwork.stabilizer import MetaStabilizer

__all__ = ["ItemContextEncoder", "MetaGenerator", "MetaNetwork", "MetaStabilizer"]
