"""The targets that a model can be exported for: each is one module, found by being there.

A module of this package is a target of its name. One of another package is found through the entry-point group
`mnet.targets`: the entry point's name is the target's, its value the module. Names are listed without importing any.
"""

import contextlib
import importlib
import importlib.metadata
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mnet.export.format.errors import BundleError

if TYPE_CHECKING:
    from mnet.export.format.manifest import Manifest
    from mnet.export.lowering.target import Program, Target, TargetModule

GROUP = "mnet.targets"


def target_names() -> tuple[str, ...]:
    """Every target there is, sorted."""
    return tuple(sorted(_modules()))


def check_name(name: str) -> None:
    """Raises BundleError for a name that is no target's. Imports no target."""
    if name not in (modules := _modules()):
        raise BundleError(f"unknown target {name!r}; known targets: {', '.join(sorted(modules))}")


def find_target(name: str) -> "Target":
    """The description of a target, whether or not its packages are installed. BundleError if there is none."""
    return _module(name).TARGET


def known_targets() -> "dict[str, Target]":
    """Every target by name, less those of other packages that cannot be imported; `find_target` says why."""
    found = {}
    for name in target_names():
        with contextlib.suppress(BundleError):
            found[name] = find_target(name)
    return found


def load_target(name: str) -> "TargetModule":
    """The module of a target; BundleError if there is no such target or its packages are not installed."""
    module = _module(name)
    if not module.TARGET.installed:
        raise BundleError(f'target {name} needs more packages: pip install "{module.TARGET.install}"')
    return module


def load_program(path: Path, manifest: "Manifest", threads: int = 1) -> "Program":
    """Load a bundle's program, or with a manifest without slots its baked one, on the runtime of its target.

    Raises BundleError for a slot that the target does not know, and as `load_target` and the target do.
    """
    module = load_target(manifest.target)
    program = module.load_program(path, manifest.bound_by(module.TARGET.slots), threads)
    if all(info.dtype == "float32" for info in manifest.outputs):
        return program
    from mnet.export.lowering.target import InDtypes

    return InDtypes(program, manifest)


def _module(name: str) -> "TargetModule":
    check_name(name)
    path = _modules()[name]
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise BundleError(f"target {name} cannot be imported from {path}: {error}") from None
    if not hasattr(module, "TARGET"):
        raise BundleError(f"module {path} is no target: it has no TARGET")
    return cast("TargetModule", module)


def _modules() -> dict[str, str]:
    """The module of each target by the target's name."""
    outside = {found.name: found.value for found in importlib.metadata.entry_points(group=GROUP)}
    own = {module.name: f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)}
    return outside | own
