"""MetaNetwork: any device model, with some of its parameters generated from a context."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.func import functional_call, vmap

from toolchain.metanetwork.generator import MetaGenerator
from toolchain.metanetwork.stabilizer import MetaStabilizer


class MetaNetwork(nn.Module):
    """MetaGenerator and MetaStabilizer around a device model (Lv et al. 2022, at WWW 2023 as DUET).

    The device model's own values of the generated parameters are the shared weights: the default pack, and
    the anchor of every generated one.

    Args:
        device_model: any module.
        generated: names of the parameters to generate, as in `device_model.named_parameters()`.
        context_encoder: a module from a batch of contexts to one vector each, fp32 [B, width].
        width: of that vector.
        bound: how far a generated parameter may move from the shared one.

    Raises:
        ValueError: a generated name is not a parameter of the device model, or there is none.
    """

    def __init__(
        self,
        device_model: nn.Module,
        generated: Sequence[str],
        context_encoder: nn.Module,
        width: int,
        bound: float = 1.0,
    ) -> None:
        super().__init__()
        parameters = dict(device_model.named_parameters())
        unknown = [name for name in generated if name not in parameters]
        if unknown or not generated:
            raise ValueError(
                f"cannot generate {', '.join(unknown) or 'nothing'}: the device model has {', '.join(parameters)}"
            )
        self.device_model = device_model
        self.generated = tuple(generated)
        self.context_encoder = context_encoder
        self.generator = MetaGenerator({name: parameters[name].shape for name in generated}, width)
        self.stabilizer = MetaStabilizer(bound)

    def static(self) -> dict[str, Tensor]:
        """The shared weights [*shape] of each generated parameter: the default pack."""
        return {name: self.device_model.get_parameter(name) for name in self.generated}

    def generate(self, context: Tensor) -> dict[str, Tensor]:
        """A batch of B contexts -> each generated parameter, fp32 [B, *shape]."""
        return self.generate_from(self.context_encoder(context))

    def generate_from(self, vector: Tensor) -> dict[str, Tensor]:
        """Context vectors fp32 [B, width], already encoded -> each generated parameter, fp32 [B, *shape]."""
        return self.stabilizer(self.static(), self.generator(vector))

    def forward(self, context: Tensor, *inputs: Tensor) -> Tensor:
        """Run the device model on each row of `inputs` under what is generated from that row of `context`."""
        return self.call(self.generate(context), *inputs)

    def call(self, parameters: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        """Run the device model on each row of `inputs` [B, ...], as a batch of 1, under that row of `parameters`.

        Works for any generated parameters; everything that the model computes is computed row by row.
        """

        def one(row: dict[str, Tensor], *row_inputs: Tensor) -> Tensor:
            return functional_call(self.device_model, row, tuple(x[None] for x in row_inputs))[0]

        return vmap(one, randomness="different")(parameters, *inputs)

    def call_head(self, parameters: dict[str, Tensor], hidden: Tensor) -> Tensor:
        """The quick way where all that is generated lives in `device_model.head`.

        `hidden` [B, ..., d] was encoded for the whole batch at once; row b goes through the head under row b of
        `parameters`. Under vmap each Linear becomes one bmm, and what is shared stays one matmul.
        """
        head = _Head(self.device_model)

        def one(row: dict[str, Tensor], row_hidden: Tensor) -> Tensor:
            return functional_call(head, {f"model.{name}": x for name, x in row.items()}, (row_hidden,))

        return vmap(one)(parameters, hidden)


class _Head(nn.Module):
    """`functional_call` runs `forward`; this makes it a device model's head."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, hidden: Tensor) -> Tensor:
        head = self.model.head
        assert callable(head)
        return head(hidden)
