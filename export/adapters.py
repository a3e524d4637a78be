"""LoRA adapters as PEFT keeps them: a folder of `adapter_config.json` and `adapter_model.safetensors`.

Where PEFT injected its layers into a module before the export, the factors are slots of the bundle, and the bundle
keeps the part of the adapter's config by which another adapter fits. Only an adapter of the same targets, ranks and
scales does: alpha / r is a constant of the program. PEFT itself is needed to inject, not to read.

Source: E. Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.format.manifest import canonical_json
from mnet.export.format.packs import read_pack
from mnet.export.lowering.quiet import quiet

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
METADATA = "adapter"  # the config's key in the metadata of a bundle
_PREFIX = "base_model.model."
# What decides which layers have factors, of which rank, and by which number their product is multiplied.
_DEFAULTS: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 8,
    "target_modules": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "use_rslora": False,
    "use_dora": False,
    "fan_in_fan_out": False,
    "bias": "none",
}
_FACTOR = re.compile(r"(?P<path>.+)\.(?P<kind>lora_(?:embedding_)?[AB])(?:\.\w+?)?(?:\.weight)?")


@dataclass(frozen=True)
class Adapter:
    """An adapter: its config, and its tensors by their names in the module, as PEFT's files leave them."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def digest(self) -> str:
        """SHA-256 of the tensors, in hex."""
        return hashlib.sha256(safetensors.torch.save(self.tensors)).hexdigest()

    @classmethod
    def read(cls, folder: str | Path) -> "Adapter":
        """Read a folder that PEFT's `save_pretrained` wrote. Raises BundleError for another one."""
        folder = Path(folder)
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        except FileNotFoundError as error:
            raise BundleError(
                f"{folder} is no adapter of PEFT: it has no {Path(error.filename).name}; `save_pretrained` writes one"
            ) from None
        except (ValueError, safetensors.SafetensorError) as error:
            raise BundleError(f"{folder} is no adapter of PEFT: {error}") from None
        if not isinstance(config, dict) or config.get("peft_type") != "LORA":
            raise BundleError(f"{folder / CONFIG_FILE}: peft_type must be LORA")
        return cls(_kept(config), {name.removeprefix(_PREFIX): value for name, value in tensors.items()})

    def weights(self, bundle: Bundle) -> dict[str, Tensor]:
        """The adapter's factors fp32 by the bundle's slots.

        Raises BundleError where rank, scale or targets differ, or one of the two has a tensor that the other lacks.
        """
        known = config_of(bundle)
        if known is None:
            raise BundleError(
                "the bundle has no slots of an adapter: export it with `--lora`, or from a module into which PEFT "
                "injected its layers"
            )
        slots = {plain_name(slot.parameter): slot for slot in bundle.manifest.slots}
        faults = []
        for name in sorted({path for path in map(_path, [*slots, *self.tensors]) if path}):
            theirs, ours = ({n for n in names if _path(n) == name} for names in (self.tensors, slots))
            if not theirs or not ours:
                faults.append(f"{name} has factors in the {'adapter' if theirs else 'bundle'} alone")
                continue
            for what, of in (("rank", rank), ("alpha / r", scale)):
                if (there := of(self.config, name)) != (here := of(known, name)):
                    faults.append(f"{what} of {name} is {there:g} in the adapter and {here:g} in the bundle")
        if not faults:
            faults += [f"the bundle has no slot for {name}" for name in self.tensors if name not in slots]
            faults += [f"the adapter has no {name}" for name in slots if name not in self.tensors]
        if faults:
            more = f"; and {len(faults) - 4} more" if len(faults) > 4 else ""
            raise BundleError(f"the adapter does not fit: {'; '.join(faults[:4])}{more}")
        return {slot.parameter: self.tensors[name].float() for name, slot in slots.items()}

    def save(self, folder: str | Path) -> None:
        """Write the folder that PEFT's `from_pretrained` and `load_adapter` read."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"{_PREFIX}{name}": value.contiguous() for name, value in self.tensors.items()}
        text = json.dumps(self.config | {"inference_mode": True}, indent=2, sort_keys=True)
        (folder / CONFIG_FILE).write_text(f"{text}\n", encoding="utf-8")
        safetensors.torch.save_file(tensors, folder / WEIGHTS_FILE, {"format": "pt"})


def unpack_adapter(bundle: Bundle, pack: bytes) -> Adapter:
    """The adapter that a pack of the bundle carries. Raises Refused for a pack of another one, BundleError without."""
    known = config_of(bundle)
    if known is None:
        raise BundleError("the bundle has no slots of an adapter, so its packs hold none")
    parameters = read_pack(pack, bundle.manifest).parameters
    return Adapter(known, {plain_name(name): value for name, value in parameters.items()})


def inject(module: nn.Module, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Have PEFT put its layers into the module, in place, with these factors; the names of the factors.

    Raises BundleError where PEFT is not installed or finds no target, or the factors do not fit.
    """
    try:
        with quiet():  # it imports what is installed next to it, which may have much to say
            from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise BundleError(f'adapters need PEFT: pip install "mnet-mobile[lora]" ({error})') from None
    try:
        inject_adapter_in_model(LoraConfig(**{k: v for k, v in config.items() if k != "peft_type"}), module)
    except ValueError as error:
        raise BundleError(f"PEFT cannot inject the adapter: {error}") from None
    known = {plain_name(name): name for name, _ in module.named_parameters() if _path(plain_name(name))}
    state = {known.get(name, name): value for name, value in tensors.items()}
    shapes = dict(module.named_parameters())
    for name in [*known.values(), *state]:
        if name not in state or name not in shapes or state[name].shape != shapes[name].shape:
            where = "the adapter" if name not in state else "the module"
            raise BundleError(f"{plain_name(name)} is missing or of another shape in {where}")
    module.load_state_dict(state, strict=False)
    return tuple(known.values())


def adapter_metadata(module: nn.Module) -> dict[str, str]:
    """What a bundle of this module keeps of the adapter that PEFT injected; nothing where it did not."""
    configs = getattr(module, "peft_config", None)
    if not isinstance(configs, Mapping) or not configs:
        return {}
    active = getattr(module, "active_adapter", None)
    config = configs[active if isinstance(active, str) and active in configs else next(iter(configs))]
    return {METADATA: canonical_json(_kept(config.to_dict())).decode()}


def config_of(bundle: Bundle) -> dict[str, Any] | None:
    """The config of the adapter whose factors are slots of the bundle."""
    text = bundle.manifest.model.metadata.get(METADATA)
    return None if text is None else dict(json.loads(text))


def plain_name(parameter: str) -> str:
    """A factor's name as in PEFT's files, where the adapter's own name and the wrapper's prefix are left out."""
    found = _FACTOR.fullmatch(parameter.removeprefix(_PREFIX))
    if found is None:
        return parameter.removeprefix(_PREFIX)
    weight = "" if "embedding" in found["kind"] else ".weight"
    return f"{found['path']}.{found['kind']}{weight}"


def rank(config: Mapping[str, Any], path: str) -> int:
    """r of the layer at `path`."""
    return int(_by_pattern(config["rank_pattern"], path, config["r"]))


def scale(config: Mapping[str, Any], path: str) -> float:
    """What the product of a layer's factors is multiplied by: alpha / r, with rank-stabilized LoRA alpha / sqrt(r)."""
    r = rank(config, path)
    alpha = float(_by_pattern(config["alpha_pattern"], path, config["lora_alpha"]))
    return alpha / math.sqrt(r) if config["use_rslora"] else alpha / r


def _path(name: str) -> str | None:
    """The layer of which `name`, a plain one, is a factor; None for what is none."""
    found = _FACTOR.fullmatch(name)
    return found and found["path"]


def _by_pattern(patterns: Mapping[str, Any] | None, path: str, default: Any) -> Any:
    """As PEFT looks a layer up: the first pattern that is the end of its path."""
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", path):
            return value
    return default


def _kept(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of PEFT's config that says what fits, as JSON holds it."""
    kept = {key: config.get(key, default) for key, default in _DEFAULTS.items()}
    kept["peft_type"] = "LORA"
    if isinstance(kept["target_modules"], set | Sequence) and not isinstance(kept["target_modules"], str):
        kept["target_modules"] = sorted(kept["target_modules"])
    return {key: value if value is not None else _DEFAULTS[key] for key, value in kept.items()}
