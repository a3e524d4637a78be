"""A device's samples → the weight pack that a bundle takes: one forward pass of the MetaNetwork."""

from collections.abc import Sequence

import torch
from torch.func import functional_call

from export.bundle import Bundle
from export.packs import probe_values, write_pack
from toolchain.errors import UserError
from toolchain.training.run import Run


class PackGenerator:
    """A run's MetaNetwork, writing packs for one bundle that was exported from it.

    Raises UserError if the bundle comes from another checkpoint: its base layers would not fit the head.
    """

    def __init__(self, run: Run, bundle: Bundle) -> None:
        exported_from = bundle.manifest.model.metadata.get("generator")
        if exported_from != run.fingerprint:
            raise UserError(
                f"bundle {bundle.id[:12]} was exported from checkpoint {str(exported_from)[:12]}, "
                f"the run holds {run.fingerprint[:12]}: export the run again"
            )
        self.bundle_id = bundle.id
        self._run = run
        self._golden = bundle.golden.inputs[0]

    def check(self, samples: Sequence[int]) -> None:
        """Raise ValueError if the task cannot read the samples, as for an item that it does not know."""
        self._run.task.context(samples)

    @torch.inference_mode()
    def pack(self, samples: Sequence[int], version: int) -> bytes:
        """The pack of `version` for these samples; the same arguments give the same bytes.

        Raises ValueError if a generated value is not finite.
        """
        network = self._run.metanetwork
        batch = network.generate(self._run.task.context(samples))
        parameters = {name: values[0] for name, values in batch.items()}
        for name, values in parameters.items():
            if not torch.isfinite(values).all():
                raise ValueError(f"the generated {name} is not finite")
        # What the device's self-test must reproduce on its own runtime.
        output = functional_call(network.device_model, parameters, self._golden)
        return write_pack(
            parameters,
            bundle_id=self.bundle_id,
            version=version,
            generator=self._run.fingerprint,
            probe=probe_values(output),
        )
