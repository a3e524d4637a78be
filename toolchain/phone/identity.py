"""Who a phone is to its server, and the check of what says so: an answer, or a file that anybody may have changed."""

import re
from dataclasses import dataclass, field
from typing import Any

from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.contract.keys import Roots, load_public_keys

_DEVICE = re.compile("[0-9A-Za-z_]{1,64}")
# What an HTTP header can carry.
_TOKEN = re.compile("[!-~]{1,512}")


@dataclass(frozen=True)
class Identity:
    """A phone's id, its secret token, and the public keys (JWKS) that it trusts.

    `number` is that of the server's statement of these keys, and rises with each change of them; `retired` are keys
    that were stated before, good for what this phone kept then and for nothing new. Where the server has `roots`, these
    alone vouch for other keys, and for an `epoch` in which nothing counts that was signed before.
    """

    device: str
    bundle: str
    token: str
    keys: dict[str, Any]
    number: int = 0
    retired: dict[str, Any] = field(default_factory=lambda: {"keys": []})
    epoch: int = 0
    roots: Roots | None = None

    @classmethod
    def checked(cls, fields: Any) -> "Identity":
        """From parsed JSON; ValueError, KeyError or TypeError where it cannot be one."""
        identity = cls(
            device=_matching(fields["device"], _DEVICE, "device"),
            bundle=str(fields["bundle"]),
            token=_matching(fields["token"], _TOKEN, "token"),
            keys=fields["keys"],
            number=fields["number"],
            retired=fields["retired"],
            epoch=fields.get("epoch", 0),
            roots=None if fields.get("roots") is None else Roots.checked(fields["roots"]),
        )
        if any(
            type(value) is not int or not 0 <= value <= MAX_VERSION
            for value in (identity.number, identity.epoch)
        ):
            raise ValueError(f"number or epoch is not 0 to {MAX_VERSION}")
        load_public_keys(identity.keys)
        if identity.retired["keys"]:
            load_public_keys(identity.retired)
        return identity


def _matching(value: Any, form: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{what} is not {form.pattern}")
    return value
