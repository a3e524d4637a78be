"""A publisher whose generation fails on purpose, and what it handed out."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.generation import PackGenerator
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.long_polls import Key, Published
from mnet.toolchain.cloud.metrics import Metrics
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.publishing import Publisher
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.signing_keys import Keyring, create_signing_key


class FlakyGenerator(PackGenerator):
    """Fails a batch that holds one of the `broken` contexts; notes the size of each batch."""

    def __init__(self, *broken: list[int]) -> None:
        self.broken = list(broken)
        self.batches: list[int] = []

    @property
    def has_world(self) -> bool:
        return False

    def check(self, samples: Sequence[int]) -> None:
        if 0 in samples:
            raise ValueError("unknown item id 0")

    def packs(
        self,
        contexts: Sequence[Sequence[int]],
        versions: Sequence[int],
        world: object = None,
        rows: object = None,
        salts: object = None,
    ) -> list[bytes]:
        self.batches.append(len(contexts))
        for samples in contexts:
            if samples in self.broken:
                raise ValueError(f"unknown item id {samples[0]}")
        return [
            f"{each} as version {version}".encode() for each, version in zip(contexts, versions, strict=True)
        ]


class Released:
    """What the publisher handed out, to be waited for."""

    def __init__(self) -> None:
        self.versions: dict[str, list[int]] = {}
        self._changed = threading.Condition()

    def __call__(self, published: Mapping[Key, Published]) -> None:
        with self._changed:
            for (device, _), release in published.items():
                self.versions.setdefault(device, []).append(release.version)
            self._changed.notify_all()

    def wait_for(self, **versions: int) -> None:
        """Until the newest version of each device is this one."""
        with self._changed:
            newest = lambda: {device: seen[-1] for device, seen in self.versions.items()}  # noqa: E731
            assert self._changed.wait_for(lambda: versions.items() <= newest().items(), 30), newest()


@contextmanager
def publishing(
    ledger: Ledger, database: Database, folder: Path, generator: PackGenerator, released: Released
) -> Iterator[Publisher]:
    """A publisher, stopped at the end; it has to be started."""
    keyring = Keyring(create_signing_key(folder / "signing.pem"))
    packs = PackStore(f"file://{folder / 'packs'}")
    publisher = Publisher(
        Registry(database), ledger, packs, {"bundle": generator}, keyring, released, Metrics()
    )
    yield publisher
    publisher.close()
