"""Which keys a phone believes: rotation, retirement, and servers that tell nothing or old things."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from mnet.export.format.errors import Reason, Refused
from mnet.toolchain.cloud.signing_keys import SIGNING, Keyring, Stated, create_signing_key, retire, rotate
from mnet.toolchain.contract.keys import public_keys
from mnet.toolchain.contract.release import sign_release
from mnet.toolchain.durable import write_durably
from mnet.toolchain.phone.client import Denied, Identity, Offline
from mnet.toolchain.phone.phone import Phone
from mnet.toolchain.phone.staleness import DAY_S
from tests.phone.scripted import Cloud, ScriptedClient, start, take


def test_a_new_key_is_learnt_from_one_that_is_known(
    cloud: Cloud, client: ScriptedClient, phone: Phone, tmp_path: Path
) -> None:
    """Rotation with overlap: the old key vouches for the new one, and is worth nothing once it has been retired."""
    folder, now = tmp_path / "keys", int(time.time())
    folder.mkdir()
    write_durably(folder / SIGNING, cloud.key.as_pem(private=True), mode=0o600)

    def offer(version: int, key: ECKey, statements: list[str]) -> None:
        pack = cloud.pack(version)
        client.offer(pack, jws=sign_release(key, cloud.release(version, pack)))
        client.statements = statements

    second = rotate(folder)
    for statements in (
        [],
        ["no statement"],
        Keyring(cloud.other_key, (second,), Stated(9)).statements(now)[:1],
    ):
        offer(2, second, statements)
        with pytest.raises(Refused) as refusal:
            phone.poll(client, 0)
        assert refusal.value.reason is Reason.BAD_SIGNATURE
    offer(2, second, Keyring.load(folder).statements(now))
    assert phone.poll(client, 0) is not None
    assert retire(folder) == [cloud.key.kid]
    third = rotate(folder)
    # Of an earlier number, whatever its time: an old statement that somebody plays back. Or of the far future.
    for statements in (
        replace(Keyring.load(folder), stated=Stated(1)).statements(now + 60),
        Keyring.load(folder).statements(now + 3 * DAY_S),
    ):
        offer(3, third, statements)
        with pytest.raises(Refused):
            phone.poll(client, 0)
    offer(3, third, Keyring.load(folder).statements(now - 9 * DAY_S))  # by a clock that is behind
    assert phone.poll(client, 0) is not None
    offer(4, cloud.key, Keyring.load(folder).statements(now + 2))
    with pytest.raises(Refused) as refusal:
        phone.poll(client, 0)
    assert refusal.value.reason is Reason.BAD_SIGNATURE
    assert start(cloud, tmp_path)[0].version == 3


def test_what_was_accepted_under_a_retired_key_still_runs(
    cloud: Cloud, client: ScriptedClient, phone: Phone, tmp_path: Path
) -> None:
    second = create_signing_key(tmp_path / "second.pem")
    identity = json.loads((tmp_path / "identity.json").read_text())
    changed = {"keys": public_keys(second), "retired": identity["keys"]}
    (tmp_path / "identity.json").write_text(json.dumps(identity | changed))
    assert start(cloud, tmp_path)[0].version == 1


@pytest.mark.parametrize("polled_between", [False, True])
def test_a_retired_key_is_forgotten_within_a_day(
    cloud: Cloud, client: ScriptedClient, tmp_path: Path, polled_between: bool
) -> None:
    folder, now = tmp_path / "keys", time.time()
    folder.mkdir()
    write_durably(folder / SIGNING, cloud.key.as_pem(private=True), mode=0o600)
    clock = [now]
    phone, _ = start(cloud, tmp_path / "phone", lambda: clock[0])
    phone.enrol(client, "key")
    second = rotate(folder)

    def offer(version: int, key: ECKey) -> None:
        pack = cloud.pack(version)
        release = replace(cloud.release(version, pack), expires_at=int(now) + 9 * DAY_S)
        client.offer(pack, jws=sign_release(key, release))
        client.statements = Keyring.load(folder).statements(int(clock[0]))

    offer(1, second)
    assert phone.poll(client, 0) is not None
    retire(folder)
    clock[0] += DAY_S + 1
    if polled_between:
        client.jws, client.statements = None, Keyring.load(folder).statements(int(clock[0]))
        assert phone.poll(client, 0) is None
        again = json.loads((tmp_path / "phone" / "identity.json").read_bytes())
        assert [key["kid"] for key in again["keys"]["keys"]] == [second.kid]
        assert again["retired"]["keys"] == public_keys(cloud.key)["keys"]
    offer(2, cloud.key)
    with pytest.raises(Refused) as refusal:
        phone.poll(client, 0)
    assert refusal.value.reason is Reason.BAD_SIGNATURE
    offer(2, second)
    assert phone.poll(client, 0) is not None


@pytest.mark.parametrize("trouble", [Offline("no route"), Denied(404, "no such path"), None])
def test_a_known_key_is_believed_where_nobody_tells_of_keys(
    cloud: Cloud,
    client: ScriptedClient,
    phone: Phone,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Exception | None,
) -> None:
    def statements(_phone: Identity) -> list[str]:
        if trouble is not None:
            raise trouble
        return ["no statement"]

    monkeypatch.setattr(phone, "_clock", lambda: time.time() + 2)
    monkeypatch.setattr(phone, "_keys_asked_at", None)
    monkeypatch.setattr(client, "key_statements", statements)
    take(phone, client, 2)
