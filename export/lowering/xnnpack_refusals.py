"""What XNNPACK's partitioner takes and its compiler then fails on: left to ExecuTorch's portable kernels instead."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch.fx import Node

T = TypeVar("T")


def with_what_xnnpack_takes(lower: Callable[[Sequence[Any]], T]) -> T:
    """`lower` with the configs of XNNPACK's partitioner, one for each kind of operation.

    Where XNNPACK fails at an operation, without those of its kind, which the portable kernels then run; the error is
    raised on where it is at none.
    """
    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS

    configs = list(ALL_PARTITIONER_CONFIGS)
    while True:
        try:
            return lower(configs)
        except Exception as error:
            kind = failed_at(error)
            others = [config for config in configs if config.target_name != kind]
            if len(others) == len(configs):
                raise
            configs = others


def failed_at(error: BaseException) -> str | None:
    """The operation, such as `prelu.default`, that the innermost function of an error had as its `node`."""
    while error.__cause__ is not None:
        error = error.__cause__
    found, step = None, error.__traceback__
    while step is not None:
        node = step.tb_frame.f_locals.get("node")
        if isinstance(node, Node) and node.op == "call_function":
            found = getattr(node.target, "__name__", str(node.target)).removeprefix("aten.")
        step = step.tb_next
    return found
