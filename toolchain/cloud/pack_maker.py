"""The packs that devices wait for: generated, given again, or pushed to many."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from mnet.toolchain.cloud.generation import ROWS, ROWS_OF_MANY, PackGenerator, ServedBundle
from mnet.toolchain.cloud.ledger import Ledger, Wanted
from mnet.toolchain.cloud.pack_store import SHARED, PackStore
from mnet.toolchain.cloud.scope import place

KEPT_WORLDS = 8


class PackMaker:
    """Makes packs; `lost(device, owner, sha256)` is called with one that should come back and is not in the store."""

    def __init__(
        self,
        ledger: Ledger,
        packs: PackStore,
        lost: Callable[[str, str, str], None],
        salt: Callable[[str], str] | None,
    ) -> None:
        """`salt` gives a device's; without one, devices with equal contexts get equal packs."""
        self._ledger = ledger
        self._packs = packs
        self._lost = lost
        self._salt = salt
        self._worlds: dict[str, Mapping[str, Tensor]] = {}

    def make(self, generator: ServedBundle, wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, str, bytes]]:
        """The packs of one bundle, and under whose name each is stored: one that many get is made and stored once.

        Fresh ones are generated together, under the world pack that reached their device last. A world pack that is
        pushed to a device with a context is taken for its world: the rest stays the device's own. A bundle without a
        run gives again what its devices have.
        """
        generates = isinstance(generator, PackGenerator)
        wanted = [each if generates or each.pack else self._again(each) for each in wanted]
        fresh: dict[str | None, list[Wanted]] = {}
        if isinstance(generator, PackGenerator):
            fresh = self._by_world(generator, [each for each in wanted if each.restores is None])
            for pack, due in fresh.items():
                world = self._world(generator, pack) if pack else None
                # By what asked for them, and not by how many there are: the same device gets the same bytes from any
                # replica. What is pushed comes in crowds.
                for rows, some in (
                    (ROWS, [each for each in due if each.rollout is None]),
                    (ROWS_OF_MANY, [each for each in due if each.rollout is not None]),
                ):
                    if not some:
                        continue
                    samples, versions = [each.samples or [] for each in some], [each.version for each in some]
                    salts = None if self._salt is None else [self._salt(each.device) for each in some]
                    packs = generator.packs(samples, versions, world, rows, salts)
                    yield from zip(some, (each.device for each in some), packs, strict=True)
        own_weights = {each.device for some in fresh.values() for each in some}
        made: dict[tuple[str, str | None, int], bytes] = {}
        for each in wanted:
            if each.device in own_weights:
                continue
            sha256 = each.pack or each.sha256
            own = each.pack is None and each.sha256 is not None and not each.shared
            owner = each.device if own else SHARED
            key = owner, sha256, each.version
            if key not in made:
                old = None if sha256 is None else self._kept(each, owner, sha256)
                made[key] = generator.renumbered(old, each.version)
            yield each, owner, made[key]

    def _kept(self, wanted: Wanted, owner: str, sha256: str) -> bytes:
        """A pack that comes back; the next turn does without one that is lost."""
        try:
            return self._packs.read(owner, sha256)
        except FileNotFoundError:
            self._lost(wanted.device, owner, sha256)
            raise

    def _by_world(self, generator: PackGenerator, wanted: Sequence[Wanted]) -> dict[str | None, list[Wanted]]:
        """Those whose weights are their own, by the SHA-256 of the world pack under which they are made; None: none."""
        found: dict[str | None, list[Wanted]] = {}
        if not generator.has_world:
            found[None] = [each for each in wanted if each.pack is None]
            return found if found[None] else {}
        pushed = self._ledger.pushed_to_all(generator.bundle_id)
        for each in wanted:
            if each.pack is None:
                reached = (pack for rollout, percent, pack in pushed if place(rollout, each.device) < percent)
                world = next((pack for pack in reached if self._world(generator, pack)), None)
                found.setdefault(world, []).append(each)
            elif each.samples and self._world(generator, each.pack):
                found.setdefault(each.pack, []).append(each)
        return found

    def _world(self, generator: PackGenerator, pack: str) -> Mapping[str, Tensor]:
        """What a pushed pack says of the world; the last few are kept."""
        if pack not in self._worlds:
            while len(self._worlds) >= KEPT_WORLDS:
                del self._worlds[next(iter(self._worlds))]
            self._worlds[pack] = generator.world_of(self._packs.read(SHARED, pack))
        return self._worlds[pack]

    def _again(self, wanted: Wanted) -> Wanted:
        """The same with the newest weights that the device was given, or the default ones, where none are named."""
        if wanted.restores is not None:
            return wanted
        last = self._ledger.last_pack(wanted.device, wanted.bundle)
        sha256, shared, rollout = last or (None, False, None)
        return replace(wanted, restores=wanted.version, sha256=sha256, shared=shared, rollout=rollout)
