"""The traced graph that every exporter starts with."""

import torch
from torch import Tensor, nn

from mnet.export.lowering.tracing import trace


class Sliced(nn.Module):
    """Takes as much of a mask and of a table as its input is long: all of them."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(4, 3))
        self.register_buffer("mask", torch.ones(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        return (x + self.table[4 - length :]) * self.mask[:length, :length].sum() + x[:, :1]


def test_a_slice_of_all_that_there_is_leaves_no_alias() -> None:
    """coremltools knows no alias, and ExecuTorch copies one."""
    x = torch.randn(1, 4, 3)
    model = Sliced()
    traced = trace(model, (x,))
    kept = [node for node in traced.graph.nodes if node.target == torch.ops.aten.slice.Tensor]
    assert len(kept) == 1
    lowered = traced.run_decompositions()
    assert not [node for node in lowered.graph.nodes if "alias" in str(node.target)]
    torch.testing.assert_close(lowered.module()(x), model(x))
