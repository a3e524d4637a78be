"""Built-in tasks, data sets and device models, found by the files that they are in: a new one is one new file.

Each file names what it offers in a constant. Nothing is imported to list them, so that a mistake in a name is reported
before PyTorch is loaded.
"""

from functools import cache

from mnet.toolchain.source import module_value, modules


@cache
def data_sets() -> dict[str, str]:
    """Name -> `package.module:function`, from `DATA_SETS = {name: function}` in the modules of `mnet.toolchain.data`.

    The function loads from a path, or, given None, from the cache, after a download where need be.
    """
    return _found("mnet.toolchain.data", "DATA_SETS")


@cache
def tasks() -> dict[str, str]:
    """Name -> `package.module:Class`, from `TASKS = {name: class}` in the modules of `mnet.toolchain.tasks`."""
    return _found("mnet.toolchain.tasks", "TASKS")


@cache
def models(task: str) -> dict[str, str]:
    """Name -> `package.module:Class`, from `MODELS = {task: {name: class}}` in the modules of `mnet.device_models`.

    Models that no device runs are in `mnet.toolchain.tasks`.
    """
    return _found("mnet.device_models", "MODELS", task) | _found("mnet.toolchain.tasks", "MODELS", task)


def _found(package: str, constant: str, key: str | None = None) -> dict[str, str]:
    found = {}
    for module in modules(package):
        declared = module_value(module, constant) or {}
        for name, attribute in (declared if key is None else declared.get(key, {})).items():
            found[name] = f"{module}:{attribute}"
    return found
