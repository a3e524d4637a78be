"""Settings out of YAML: strict sections, and parts that are chosen by name or by dotted path."""

import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from mnet.toolchain.errors import UserError

Form = Literal["residual", "full", "low-rank"]
"""What the cloud generates of a parameter: a change of the shared value, the whole value, or factors of a change."""


class Strict(BaseModel):
    """A section that knows all of its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(BaseModel):
    """A section that names what it is for and leaves the other keys to that: `{name: sasrec, width: 32}`.

    `name` is a built-in name, or `package.module:Name` for a user's own. The name alone is short for a part without
    settings.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def find_part(name: str, builtin: Mapping[str, str], kind: str) -> Any:
    """What `name` stands for: an entry of `builtin`, or `package.module:Name` as it is.

    A module in the current folder is found too. Raises UserError when there is no such thing.
    """
    path = builtin.get(name, name)
    module, colon, attribute = path.partition(":")
    if not (module and colon and attribute):
        raise UserError(
            f"no {kind} {name!r}: take {', '.join(builtin)}, or one of your own as package.module:Name"
        )
    if name not in builtin and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"cannot load the {kind} {name}: {error}") from None


def build_part(part: Part, builtin: Mapping[str, str], kind: str, **sizes: Any) -> Any:
    """Make the part from its settings and from the `sizes` that the task knows.

    A class whose `config_class` is a dataclass gets one of these, checked type by type; any other gets
    all as keywords. Raises UserError for settings that do not fit.
    """
    made_by = find_part(part.name, builtin, kind)
    config = getattr(made_by, "config_class", None)
    values = {**sizes, **part.settings}
    try:
        inspect.signature(config or made_by).bind(**values)
        if is_dataclass(config):
            return made_by(TypeAdapter(config).validate_python(values))
        return made_by(**values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UserError(f"{kind} {part.name}: {faults}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{kind} {part.name}: {error}") from None
