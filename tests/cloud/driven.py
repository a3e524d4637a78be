"""Roll-outs taken as far as they go, as the service's reconciler does, in the thread of a test."""

from collections.abc import Sequence
from typing import Any

from mnet.toolchain.cloud.advance import Stage
from mnet.toolchain.cloud.fetches import Fetches
from mnet.toolchain.cloud.ledger import Issued, Ledger
from mnet.toolchain.cloud.rollouts import Rollouts


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
