"""Theft of the online key, survived by root keys; and keys that are retired before phones have learnt the next ones."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc.jwk import ECKey
from typer.testing import CliRunner

from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.cli.keys import command
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.signing_keys import (
    ROOTS,
    Keyring,
    create_signing_key,
    pin_roots,
    retire,
    rotate,
)
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.contract.keys import KeyStatement, Roots, believed_statement, public_keys
from mnet.toolchain.errors import UserError

NOW = int(time.time())


@pytest.fixture
def server(tmp_path: Path) -> ServerState:
    return ServerState.open(tmp_path / "server")


@pytest.fixture
def roots(tmp_path: Path) -> list[ECKey]:
    return [create_signing_key(tmp_path / f"root-{number}.pem") for number in range(3)]


def pinned(server: ServerState) -> Roots:
    found = Keyring.load(server.keys).stated.roots
    assert found is not None
    return found


def believed(server: ServerState, known: dict, roots: Roots | None) -> KeyStatement | None:  # type: ignore[type-arg]
    return believed_statement(Keyring.load(server.keys).statements(NOW), known, roots, NOW)


def test_no_change_of_keys_is_believed_without_enough_roots(server: ServerState, roots: list[ECKey]) -> None:
    pin_roots(server.keys, roots, threshold=2)
    first, trusted = Keyring.load(server.keys).jwks, pinned(server)
    for too_few in ([], roots[:1], [roots[0], roots[0]], [roots[0], Keyring.load(server.keys).signing]):
        for change in (rotate, retire):
            with pytest.raises(UserError, match="2 root keys must vouch"):
                change(server.keys, too_few)
    rotate(server.keys, roots[1:])
    statement = believed(server, first, trusted)
    assert statement is not None
    assert (statement.keys, statement.number, statement.epoch) == (Keyring.load(server.keys).jwks, 2, 0)
    # A thief of the online key signs whatever he likes: by it alone nothing is believed.
    stolen = Keyring.load(server.keys)
    thief = ECKey.generate_key("P-256", {"kid": "thief"})
    forged = Keyring(stolen.signing, (thief,), replace(stolen.stated, number=9, epoch=9, vouched=()))
    assert believed_statement(forged.statements(NOW), first, trusted, NOW) is None
    one = replace(forged, signing=roots[0], retiring=())
    assert believed_statement(one.statements(NOW), first, trusted, NOW) is None


def test_after_a_theft_a_new_epoch_is_declared_by_roots_alone(
    server: ServerState, roots: list[ECKey]
) -> None:
    with pytest.raises(UserError, match="only root keys can declare"):
        rotate(server.keys, stolen=True)
    pin_roots(server.keys, roots[:1], threshold=1)
    first, trusted = Keyring.load(server.keys).jwks, pinned(server)
    new = rotate(server.keys, roots[:1], stolen=True)
    statement = believed(server, first, trusted)
    assert statement is not None
    assert (statement.keys, statement.epoch) == (public_keys(new), 1)
    with pytest.raises(UserError, match="cannot be changed"):
        pin_roots(server.keys, roots, threshold=3)


def test_keys_are_not_retired_before_phones_have_learnt_the_next(server: ServerState) -> None:
    database = Database(server.database_url())
    registry = Registry(database)
    rotate(server.keys)
    for device, keys in (("a", 0), ("b", 1), ("c", 0), ("revoked", 0)):
        registry.enrol(device, "0" * 64, "bundle", keys)
    registry.revoke("revoked")
    run = CliRunner()
    refused = run.invoke(command, ["retire", "--state", str(server.folder)])
    assert isinstance(refused.exception, UserError)
    assert "2 of 3 phones" in str(refused.exception)
    registry.learnt("a", 1)
    forced = run.invoke(command, ["retire", "--state", str(server.folder), "--force"])
    assert "1 of 3 phones" in forced.stdout
    assert Keyring.load(server.keys).retiring == ()
    registry.learnt("a", 2)
    database.close()


def test_the_threshold_is_one_that_can_be_met(server: ServerState, roots: list[ECKey]) -> None:
    for threshold in (0, 4, MAX_VERSION):
        with pytest.raises(UserError, match="--threshold"):
            pin_roots(server.keys, roots, threshold)


def test_an_app_ships_the_file_that_pinning_writes(
    server: ServerState, roots: list[ECKey], tmp_path: Path
) -> None:
    named = [word for number in range(2) for word in ("--root", str(tmp_path / f"root-{number}.pem"))]
    done = CliRunner().invoke(command, ["pin", "--state", str(server.folder), *named, "--threshold", "2"])
    shipped = server.keys / ROOTS
    assert str(shipped) in done.stdout
    assert Roots.load(shipped) == pinned(server) == Roots(public_keys(*roots[:2]), 2)
    for content in ("", "[]", "{}", '{"keys": {"keys": []}, "threshold": 1}'):
        shipped.write_text(content)
        with pytest.raises(UserError, match="holds no root keys"):
            Roots.load(shipped)
