"""How large a generator is in each of its forms, before anything is trained."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from mnet.toolchain.metanetwork import Form, MetaGenerator, MetaNetwork
from mnet.toolchain.metanetwork.factors import with_factors

# Of the low-rank form where the config trains another one.
RANK = 4


@dataclass(frozen=True)
class FormSize:
    """One form of a generator.

    Attributes:
        outputs: numbers that it puts out for one context.
        weights: of the generator, the context encoder aside.
        payload: bytes of what travels, fp32 and without the file's header: the weights themselves, or in the low-rank
            form their factors.
    """

    form: Form
    rank: int | None
    outputs: int
    weights: int
    payload: int


def form_sizes(network: MetaNetwork) -> list[FormSize]:
    """The network's generator in each form; nothing of it is allocated."""
    sizes = []
    forms: list[tuple[Form, int | None]] = [
        ("full", None),
        ("residual", None),
        ("low-rank", network.generator.rank or RANK),
    ]
    for form, rank in forms:
        shared = {name: value.detach().to("meta") for name, value in _generated(network, rank).items()}
        payload = sum(value.numel() * value.element_size() for value in shared.values())
        with torch.device("meta"):
            # As many numbers as `residual`, which needs no value of a parameter to start from.
            generator = MetaGenerator(
                shared, network.context_encoder.width, "residual" if rank is None else "low-rank", rank
            )
        weights = sum(parameter.numel() for parameter in generator.parameters())
        sizes.append(FormSize(form, rank, generator.outputs, weights, payload))
    return sizes


def _generated(network: MetaNetwork, rank: int | None) -> Mapping[str, Tensor]:
    """What is generated in the low-rank form, or without a rank in another."""
    model, names = network.device_model, network.whole
    if rank is not None and network.generator.rank is None:
        model = copy.deepcopy(model)
        names = with_factors(model, names, rank)
    elif rank is not None:
        names = network.generated
    return {name: model.get_parameter(name) for name in names}


def forms_table(network: MetaNetwork) -> Table:
    """The sizes for people; the form that is trained is marked."""
    table = Table("form", "generated numbers", "weights of the generator", "payload", title="generator")
    for size in form_sizes(network):
        name = size.form if size.rank is None else f"{size.form}, rank {size.rank}"
        trained = " (trained)" if size.form == network.generator.form else ""
        table.add_row(
            name + trained, f"{size.outputs:,}", f"{size.weights:,}", f"{size.payload:,} bytes, fp32"
        )
    return table
