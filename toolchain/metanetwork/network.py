"""MetaNetwork: any device model, with some of its parameters generated from a context."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mnet.toolchain.metanetwork.check import generated_parameters
from mnet.toolchain.metanetwork.context import ContextEncoder
from mnet.toolchain.metanetwork.factors import with_factors
from mnet.toolchain.metanetwork.generator import Form, MetaGenerator
from mnet.toolchain.metanetwork.per_pack import call, under
from mnet.toolchain.metanetwork.stabilizer import MetaStabilizer


class MetaNetwork(nn.Module):
    """MetaGenerator and MetaStabilizer around a device model (Lv et al. 2022, at WWW 2023 as DUET).

    The device model's own values of the generated parameters are the shared weights: the default pack, and, but in
    the form `full`, the anchor of every generated one.

    Attributes:
        generated: names of what is generated; in the form `low-rank` mostly factors.
        whole: the names as they were given.

    Args:
        device_model: any module.
        generated: names of the parameters to generate, as in `device_model.named_parameters()`.
        context_encoder: from a batch of contexts to one vector each, fp32 [M, context_encoder.width].
        form: how the generator writes a parameter down, see `MetaGenerator`. In the form `low-rank` the layers of the
            generated weights get factors (`mnet.toolchain.metanetwork.factors`), in place, and these are generated.
        rank: of the form `low-rank`.
        bound: how far a generated parameter may move from the shared one; None for any distance.
        windows: cuts of the context whose vectors are averaged, see `MetaStabilizer`.

    Raises:
        ValueError: a generated name is not a parameter of the device model, or a shared one, or there is none.
    """

    def __init__(
        self,
        device_model: nn.Module,
        generated: Sequence[str],
        context_encoder: ContextEncoder,
        *,
        form: Form = "residual",
        rank: int | None = None,
        bound: float | None = 1.0,
        windows: int = 1,
    ) -> None:
        super().__init__()
        shared = generated_parameters(device_model, generated)
        self.device_model = device_model
        self.whole = self.generated = tuple(generated)
        if form == "low-rank" and rank is not None:
            self.generated = with_factors(device_model, generated, rank)
            shared = generated_parameters(device_model, self.generated)
        self.context_encoder = context_encoder
        self.generator = MetaGenerator(shared, context_encoder.width, form, rank)
        self.stabilizer = MetaStabilizer(bound, windows)

    def static(self) -> dict[str, Tensor]:
        """The shared weights [*shape] of each generated parameter: the default pack."""
        return {name: self.device_model.get_parameter(name) for name in self.generated}

    def generate(self, context: Tensor) -> dict[str, Tensor]:
        """A batch of M contexts -> each generated parameter, fp32 [M, *shape]."""
        cuts = self.context_encoder.at_every_item(context, last=self.stabilizer.windows)
        return self.generate_from(self.stabilizer.over_windows(cuts)[:, -1])

    def generate_from(self, vectors: Tensor) -> dict[str, Tensor]:
        """Context vectors fp32 [M, width], already encoded -> each generated parameter, fp32 [M, *shape]."""
        values = self.generator(vectors)
        return values if self.generator.form == "full" else self.stabilizer(self.static(), values)

    def under(self, parameters: Mapping[str, Tensor]) -> nn.Module:
        """A stand-in for the device model, in which pack m of a batch has row m of `parameters`.

        See `mnet.toolchain.metanetwork.under`, which does it for any module.
        """
        return under(self.device_model, parameters)

    def call(self, parameters: Mapping[str, Tensor], *inputs: Tensor) -> Any:
        """Run the device model on `inputs` [M, k, ...], row m under row m of `parameters`.

        See `mnet.toolchain.metanetwork.call`, which does it for any module.
        """
        return call(self.device_model, parameters, *inputs)

    def forward(self, context: Tensor, *inputs: Tensor) -> Any:
        """Run the device model on `inputs` [M, k, ...], row m under what is generated from row m of `context`."""
        return self.call(self.generate(context), *inputs)
