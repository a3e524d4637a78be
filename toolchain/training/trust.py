"""Whose code a run may load: a config names classes by dotted paths, and one that was fetched could name any.

A run that was begun on this machine, by this person, is trusted; its config is remembered by its SHA-256. Any other is
loaded with built-in parts alone, unless the person says so: `mnet --trust-code`, or MNET_TRUST_CODE=1.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mnet.toolchain.errors import UserError

TRUST_CODE = "MNET_TRUST_CODE"


def remember(config: Path) -> None:
    """Trust the code that a config file names, which the person who runs this has chosen."""
    with suppress(OSError):  # a home that cannot be written costs an option later
        known = _known()
        known.parent.mkdir(parents=True, exist_ok=True)
        if (digest := _digest(config)) not in _read(known):
            with known.open("a", encoding="ascii") as file:
                file.write(f"{digest}\n")


def check(config: Path, values: Any) -> None:
    """Raises UserError for a config that names code, and was neither begun here nor is trusted by an option."""
    named = sorted(set(_references(values)))
    if not named or os.environ.get(TRUST_CODE) == "1" or _digest(config) in _read(_known()):
        return
    raise UserError(
        f"{config} names code to run: {', '.join(named)}. It was not begun on this machine; if you trust whoever made "
        f"it, say so: mnet --trust-code …, or {TRUST_CODE}=1"
    )


def _references(values: Any) -> Iterator[str]:
    """Each `package.module:Name` that stands where a part is chosen."""
    if isinstance(values, dict):
        for key, value in values.items():
            if isinstance(value, str) and ":" in value and key in _CHOOSING:
                yield value
            else:
                yield from _references(value)
    elif isinstance(values, list):
        for value in values:
            yield from _references(value)


# Keys whose value may be a part: `name` of one, or its short form.
_CHOOSING = ("name", "task", "data", "model", "context")


def _known() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "mnet" / "trusted-configs"


def _read(known: Path) -> set[str]:
    try:
        return set(known.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError):
        return set()


def _digest(config: Path) -> str:
    return hashlib.sha256(config.read_bytes()).hexdigest()
