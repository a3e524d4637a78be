"""Texts of many devices, in the order in which each wrote them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mnet.toolchain.errors import UserError


@dataclass(frozen=True)
class Texts:
    """What devices wrote.

    Attributes:
        name: of the data set.
        devices: who they are, each once.
        texts: of each device its texts, oldest first; none is empty, and none holds a NUL.
    """

    name: str
    devices: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, name: str, pairs: Iterable[tuple[str, str]]) -> "Texts":
        """From (device, text), the texts of a device in the order of time. Raises UserError where there are none."""
        found: dict[str, list[str]] = {}
        for device, text in pairs:
            if "\0" in text:
                raise UserError(f"{name}: a text of {device} holds a NUL character")
            if text.strip():
                found.setdefault(device, []).append(text)
        if not found:
            raise UserError(f"{name}: there are no texts")
        return cls(name, tuple(found), tuple(map(tuple, found.values())))

    def summary(self) -> dict[str, int | str]:
        """What there is, in numbers."""
        sizes = sorted(sum(len(text.encode()) for text in own) for own in self.texts)
        return {
            "devices": len(self.devices),
            "texts": sum(map(len, self.texts)),
            "bytes": sum(sizes),
            "median bytes of a device": sizes[len(sizes) // 2],
        }


def paragraphs(text: str) -> Sequence[str]:
    """What blank lines part, whichever line ends the text has."""
    return [each for each in text.replace("\r\n", "\n").split("\n\n") if each.strip()]
