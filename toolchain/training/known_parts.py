"""Are the names and keys of a config's parts known? Read from the source of tasks and models, without PyTorch."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from mnet.toolchain import builtin
from mnet.toolchain.errors import UserError
from mnet.toolchain.settings import Part
from mnet.toolchain.source import accepted_keys, class_reference, class_value

if TYPE_CHECKING:
    from mnet.toolchain.training.config import Config


def check_parts(config: "Config") -> None:
    """Raises UserError for a built-in name or a key that does not exist.

    What cannot be read from the source, e.g. of a class that takes any keyword, is left to whoever builds the part.
    """
    tasks = builtin.tasks()
    _check_name(config.task.name, tasks, "task")
    if config.task.name in tasks:  # a task of one's own may load what it likes
        _check_part("data", config.data, builtin.data_sets(), "data set")
    task = tasks.get(config.task.name, config.task.name)
    if settings := class_reference(task, "Settings"):
        _check_keys("task", config.task, settings)
    models = builtin.models(config.task.name) or class_value(task, "models")
    _check_part("model", config.model, models, "model")
    if config.cloud:
        _check_part("cloud.model", config.cloud.model, models, "model")
    if config.metanetwork:
        encoders = class_value(task, "encoders")
        _check_part("metanetwork.context", config.metanetwork.context, encoders, "context encoder")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """` (did you mean WORD?)` for the closest of the known words; nothing where none is close."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def unknown_key(key: str, known: Sequence[str]) -> str:
    """What an error says of a key that a section does not have."""
    return f"unknown key{did_you_mean(key, known)}; known are {', '.join(known)}"


def _check_part(section: str, part: Part, builtin: Mapping[str, str] | None, kind: str) -> None:
    _check_name(part.name, builtin, kind)
    _check_keys(section, part, (builtin or {}).get(part.name, part.name))


def _check_name(name: str, builtin: Mapping[str, str] | None, kind: str) -> None:
    if builtin and name not in builtin and ":" not in name:
        raise UserError(
            f"no {kind} {name!r}{did_you_mean(name, list(builtin))}; take {', '.join(builtin)}, or one of your own as "
            "package.module:Name"
        )


def _check_keys(section: str, part: Part, path: str) -> None:
    known = accepted_keys(path)
    if known is not None:
        faults = [f"{section}.{key}: {unknown_key(key, known)}" for key in part.settings if key not in known]
        if faults:
            raise UserError("; ".join(faults))
