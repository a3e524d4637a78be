"""The sizes that `mnet train` prints are those of the generators that it would make."""

import pytest
from rich.console import Console
from torch import nn

from mnet.toolchain.metanetwork import Form, MetaNetwork, SetContext
from mnet.toolchain.training.generator_sizes import form_sizes, forms_table


def network(form: Form, rank: int | None) -> MetaNetwork:
    model = nn.Sequential(nn.Conv2d(16, 32, 1), nn.Flatten(), nn.Linear(32, 20))
    names = [name for name, _ in model.named_parameters()]
    return MetaNetwork(model, names, SetContext(features=3, width=8, classes=2), form=form, rank=rank)


@pytest.mark.parametrize("rank", [2, 4])
def test_each_form_is_as_large_as_the_generator_of_that_form(rank: int) -> None:
    sizes = form_sizes(network("low-rank", rank))
    assert [(size.form, size.rank) for size in sizes] == [
        ("full", None),
        ("residual", None),
        ("low-rank", rank),
    ]
    for size in sizes:
        generator = network(size.form, size.rank).generator
        assert size.outputs == generator.outputs
        assert size.weights == sum(parameter.numel() for parameter in generator.parameters())
        numbers = size.outputs if size.rank else 16 * 32 + 32 + 32 * 20 + 20
        assert size.payload == 4 * numbers, "factors travel, not their product"
    assert sizes[2].outputs == rank * (16 + 32) + 32 + rank * (32 + 20) + 20 < sizes[1].outputs


def test_the_table_marks_what_is_trained() -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(forms_table(network("residual", None)))
    text = capture.get()
    assert "residual (trained)" in text
    assert "low-rank, rank 4" in text
    assert "4,816 bytes" in text
