"""Forty thousand lines of Shakespeare's plays, in the public domain: 299 roles and 7,097 speeches.

A role is a device, and what it says are its texts, in the order of the plays: the split by speakers of LEAF (Caldas et
al. 2018, arXiv:1812.01097), on the smaller file that Karpathy published with char-rnn in 2015. Roles of one name in
several plays, as `First Citizen`, are one device.
"""

from collections.abc import Iterator
from pathlib import Path

from mnet.toolchain.data.download import Source, find
from mnet.toolchain.data.texts import Texts, paragraphs
from mnet.toolchain.errors import UserError

DATA_SETS = {"shakespeare": "load_shakespeare"}

NAME = "shakespeare"
REPOSITORY = "https://github.com/karpathy/char-rnn"
SOURCE = Source(
    "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/"
    "data/tinyshakespeare/input.txt",
    "sha256",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)


def load_shakespeare(path: Path | None = None) -> Texts:
    """Read the data set from its file, or download it once into the cache. Raises UserError."""
    file = find(NAME, path, "input.txt", SOURCE, f"data/tinyshakespeare/input.txt out of {REPOSITORY}")
    try:
        return Texts.of(NAME, _speeches(file.read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        raise UserError(f"{NAME}: {file} is no UTF-8: {error}") from None


def _speeches(text: str) -> Iterator[tuple[str, str]]:
    for speech in paragraphs(text):
        role, _, said = speech.strip().partition("\n")
        if not role.endswith(":"):
            raise UserError(
                f"{NAME}: expected a speech under the name of a role and a colon, not {role[:60]!r}"
            )
        yield role[:-1], said
