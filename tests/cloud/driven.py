"""Roll-outs taken as far as they go, as the service's reconciler does, in the thread of a test."""

from collections.abc import Sequence
from typing import Any

from mnet.toolchain.cloud.advance import Stage
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.fetches import Fetches
from mnet.toolchain.cloud.ledger import Issued, Ledger, Wanted
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.contract.release import Release

NOW = 1_700_000_000


def settled(rollouts: Rollouts, rollout: int) -> Stage:
    """Take turns until nothing is left; all that this roll-out asked for."""
    versions: dict[str, int] = {}
    while stages := rollouts.advance():
        for stage in stages:
            if stage.rollout == rollout:
                versions |= stage.versions
    return Stage(rollout, versions)


def started(rollouts: Rollouts, *what: Any, **more: Any) -> Stage:
    return settled(rollouts, rollouts.start(*what, **more))


def extended(rollouts: Rollouts, rollout: int, percent: float) -> Stage:
    rollouts.extend(rollout, percent)
    return settled(rollouts, rollout)


def rolled_back(rollouts: Rollouts, rollout: int) -> Stage:
    rollouts.roll_back(rollout)
    return settled(rollouts, rollout)


def fetched(ledger: Ledger, issued: Sequence[Issued]) -> None:
    """Their devices have fetched these, as the service notes it."""
    fetches = Fetches(ledger._database)
    for each in issued:
        fetches.note(each.release.device, each.release.sha256)
    fetches.keep()


def made(wanted: Sequence[Wanted]) -> list[Issued]:
    """What the publisher makes of this, still to be published."""
    return [
        Issued(
            Release(
                each.device, each.bundle, each.version, f"{each.device}-{each.version}", 1, NOW, NOW + 60
            ),
            f"{each.device} v{each.version}",
            each.rollout,
            held_out=each.held_out,
        )
        for each in wanted
    ]


def on_version_one(database: Database, devices: Sequence[str]) -> Ledger:
    """Devices that have uploaded, and were given their first release; the ledger that has them."""
    registry, ledger = Registry(database), Ledger(database)
    for device in devices:
        registry.enrol(device, "hash", "bundle")
        ledger.add_context(device, [1])
    publish(ledger, devices)
    return ledger


def publish(ledger: Ledger, devices: Sequence[str]) -> list[str]:
    """Release what these devices wait for, as the publisher does; returns who got something."""
    published = ledger.add_releases(made(ledger.wanted(devices))).published
    fetched(ledger, published)
    return [each.release.device for each in published]
