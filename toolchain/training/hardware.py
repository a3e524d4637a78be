"""What a fit runs on: Lightning's accelerators, strategies and precisions."""

from dataclasses import dataclass
from typing import Any

import lightning
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mnet.toolchain.errors import UserError


@dataclass(frozen=True)
class Hardware:
    """How Lightning's Trainer is to run; no part of a config, as the run that comes out is the same.

    Attributes:
        accelerator: `cpu`, `gpu`, ..., or `auto`: a GPU when there is one.
        devices: how many, `auto` for all there are, or a list as `0,2`.
        strategy: `ddp` and Lightning's others, or `auto`.
        precision: `32-true`, `bf16-mixed`, ...
    """

    accelerator: str = "auto"
    devices: str = "1"
    strategy: str = "auto"
    precision: str = "32-true"

    def trainer(self, **settings: Any) -> lightning.Trainer:
        """A Trainer on this hardware. Raises UserError where Lightning cannot make one."""
        devices = int(self.devices) if self.devices.isdigit() else self.devices
        try:
            return lightning.Trainer(
                accelerator=self.accelerator,
                devices=devices,
                strategy=self.strategy,
                precision=self.precision,  # type: ignore[arg-type]
                **settings,
            )
        except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
            wanted = ", ".join(f"{name} {value}" for name, value in vars(self).items())
            raise UserError(f"cannot train on {wanted}: {' '.join(str(error).split())}") from None


DEFAULT_HARDWARE = Hardware()


def is_first_process() -> bool:
    """Strategies such as `ddp` run the whole command once for each device; the first process alone writes."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]
