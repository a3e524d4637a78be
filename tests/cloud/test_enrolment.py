"""Enrolment by permission of an app's own back end: once each, for a time, by a key that the server knows."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.signing_keys import create_signing_key, load_signing_key, read_issuers
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.contract.enrolment import LONGEST_S, permit, read_permission
from mnet.toolchain.contract.jws import SigningKey, sign
from tests.mnet_command import Mnet

NOW = int(time.time())


@pytest.fixture
def backend(tmp_path: Path, mnet: Mnet) -> SigningKey:
    """The key of a back end that the server in `tmp_path / "server"` knows."""
    ServerState.open(tmp_path / "server")
    arguments = ["keys", "issuer", "--state", tmp_path / "server", "--out", tmp_path / "backend.pem"]
    assert mnet(*arguments)[0] == 0
    assert mnet(*arguments)[0] == 2, "a key is never replaced"
    return load_signing_key(tmp_path / "backend.pem")


def test_a_permission_enrols_one_device(backend: SigningKey, tmp_path: Path, database: Database) -> None:
    issuers = read_issuers(tmp_path / "server" / "keys")
    assert issuers is not None
    permission = read_permission(permit(backend, NOW, "de"), issuers, NOW)
    assert permission.cohort == "de"
    registry = Registry(database)
    registry.enrol("first", "hash", "bundle", permission=permission)
    with pytest.raises(PermissionError):
        registry.enrol("second", "hash", "bundle", permission=permission)
    assert registry.known("second") is None


@pytest.mark.parametrize(
    "made",
    [
        lambda key, other: permit(other, NOW),
        lambda key, other: permit(key, NOW - 7200),
        lambda key, other: permit(key, NOW, lifetime_s=LONGEST_S + 60),
        lambda key, other: sign(key, {"jti": "0" * 32, "iat": NOW, "exp": NOW + 60}),
        lambda key, other: sign(key, {"iat": NOW, "exp": NOW + 60}, "mnet-enrolment+jwt"),
        lambda key, other: sign(key, {"jti": "short", "exp": NOW + 60}, "mnet-enrolment+jwt"),
        lambda key, other: sign(key, {"jti": "0" * 32, "exp": "soon"}, "mnet-enrolment+jwt"),
        lambda key, other: "no.jwt.at all",
    ],
)
def test_what_is_no_permission(
    backend: SigningKey, tmp_path: Path, made: Callable[[SigningKey, SigningKey], str]
) -> None:
    issuers = read_issuers(tmp_path / "server" / "keys")
    assert issuers is not None
    with pytest.raises(ValueError, match=r"permission|expires|jti"):
        read_permission(made(backend, create_signing_key(tmp_path / "other.pem")), issuers, NOW)
