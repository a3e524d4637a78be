"""What an operator chooses for a server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mnet.toolchain.cloud.state import ServerState

Ready = Callable[[Sequence[str]], None]  # called with the ids of the bundles once requests are answered


@dataclass(frozen=True)
class Limits:
    """What a caller may ask for; the rates hold for each server process by itself."""

    body_bytes: int = 256 * 1024
    pack_bytes: int = 256 * 1024 * 1024  # that an operator stores
    context: int = 1000  # samples
    uploads_a_minute: int = 120  # of one device
    reports_a_minute: int = 600  # of one device
    installs_a_minute: int = 10  # of one device
    enrolments_a_minute: int = 6000  # of all


@dataclass(frozen=True)
class Settings:
    """All settings of a server process; without URLs, what it keeps is in the state folder.

    Contexts are deleted after `retain_days`; None: never. A push to more than `second_approval` percent of the fleet
    waits for a second operator; None: none does.
    """

    runs: tuple[Path, ...]
    bundles: tuple[Path, ...]
    state: ServerState
    workers: int = 1
    database: str | None = None
    packs: str | None = None
    retain_days: float | None = 30.0
    second_approval: float | None = None
    limits: Limits = field(default_factory=Limits)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    log_as_json: bool = False
