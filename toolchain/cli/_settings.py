"""The config that a verb was given, with the options that go on top of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from mnet.toolchain.cli._early import check_path
from mnet.toolchain.errors import UserError

if TYPE_CHECKING:
    from mnet.toolchain.training.config import Config


def read_settings(
    config: str, data: list[str] | None, set_: list[str] | None = None, seed: int | None = None
) -> "Config":
    """The config with what the options put over it; what can be wrong is found before PyTorch is imported.

    Raises UserError.
    """
    from mnet.toolchain.training.config import check_config_keys, config_values, task_settings

    overrides = [*(set_ or ()), *(() if seed is None else (f"seed={seed}",))]
    reads = check_config_keys(*config_values(config, overrides)).data.name
    settings = check_config_keys(*config_values(config, overrides + _data_overrides(data or [], reads)))
    check_path(settings.data.path)
    task_settings(settings)
    return settings


def _data_overrides(entries: list[str], reads: str) -> list[str]:
    """`NAME=PATH` entries as config overrides; UserError on any other form, or data that the config does not read."""
    overrides = []
    for entry in entries:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise UserError(f"--data {entry}: expected NAME=PATH")
        if name != reads:
            raise UserError(f"--data {entry}: the config reads {reads}")
        overrides += [f"data.name={name}", f"data.path={Path(path).absolute()}"]
    return overrides
