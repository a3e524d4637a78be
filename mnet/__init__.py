"""Weights that phones take while they run: train, generate, export, verify, pack and swap.

Ten lines are the whole story::

    import mnet

    run = mnet.train("synthetic-drift/sasrec", "runs/drift")
    bundle = mnet.export_run("runs/drift", "android", "bundles/drift")
    print(mnet.verify(bundle))

    session = mnet.open_session(bundle)
    pack = mnet.generate_pack(run, bundle, [50, 172, 181], version=1)
    session.swap(pack)
    outputs = session.run(bundle.golden.inputs[0])

Every name of `__all__` is imported when it is first used, so that `import mnet` does not wait for PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnet._library import generate, generate_pack, train
    from mnet.export.format.bundle import Bundle
    from mnet.export.format.errors import BundleError, Refused
    from mnet.export.modules import export_module, make_pack
    from mnet.export.session import Session, open_session
    from mnet.export.verify import verify_bundle as verify
    from mnet.toolchain.errors import UserError
    from mnet.toolchain.training.export_run import export_run
    from mnet.toolchain.training.run import Run, load_run

__version__ = "0.2.0"

# Each public name and where it lives. For type checkers the same stands above; a test compares the two and `__all__`.
_PUBLIC = {
    "Bundle": "mnet.export.format.bundle:Bundle",
    "BundleError": "mnet.export.format.errors:BundleError",
    "Refused": "mnet.export.format.errors:Refused",
    "Run": "mnet.toolchain.training.run:Run",
    "Session": "mnet.export.session:Session",
    "UserError": "mnet.toolchain.errors:UserError",
    "export_module": "mnet.export.modules:export_module",
    "export_run": "mnet.toolchain.training.export_run:export_run",
    "generate": "mnet._library:generate",
    "generate_pack": "mnet._library:generate_pack",
    "load_run": "mnet.toolchain.training.run:load_run",
    "make_pack": "mnet.export.modules:make_pack",
    "open_session": "mnet.export.session:open_session",
    "train": "mnet._library:train",
    "verify": "mnet.export.verify:verify_bundle",
}

__all__ = [
    "Bundle",
    "BundleError",
    "Refused",
    "Run",
    "Session",
    "UserError",
    "export_module",
    "export_run",
    "generate",
    "generate_pack",
    "load_run",
    "make_pack",
    "open_session",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
