"""A real session under a server that lies in every way it can: refused by name, still serving."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from mnet.export.format.errors import Reason, Refused
from mnet.export.format.packs import pack_digest
from mnet.toolchain.contract.release import sign_release
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.client import Offline
from mnet.toolchain.phone.phone import Phone
from tests.phone.scripted import Cloud, ScriptedClient, start, take


def output(phone: Phone, cloud: Cloud) -> Tensor:
    return phone.live.run(cloud.bundle.golden.inputs[0])[0]


# Each lie: what the server offers instead of a good version 2, and the name under which it is refused.
Lie = Callable[[Cloud, ScriptedClient], None]


def truncated(cloud: Cloud, client: ScriptedClient) -> None:
    pack = cloud.pack(2)
    client.offer(pack[:-1], cloud.release(2, pack))


def bit_flipped(cloud: Cloud, client: ScriptedClient) -> None:
    pack = cloud.pack(2)
    client.offer(pack[:-1] + bytes([pack[-1] ^ 1]), cloud.release(2, pack))


def released_as(**change: Any) -> Lie:
    def lie(cloud: Cloud, client: ScriptedClient) -> None:
        pack = cloud.pack(2)
        client.offer(pack, replace(cloud.release(2, pack), **change))

    return lie


def signed_by_another_key(cloud: Cloud, client: ScriptedClient) -> None:
    pack = cloud.pack(2)
    client.offer(pack, jws=sign_release(cloud.other_key, cloud.release(2, pack)))


def unsigned(cloud: Cloud, client: ScriptedClient) -> None:
    pack = cloud.pack(2)
    _, claims, _ = sign_release(cloud.key, cloud.release(2, pack)).split(".")
    client.offer(pack, jws=f"eyJhbGciOiJub25lIn0.{claims}.")


def replayed(cloud: Cloud, client: ScriptedClient) -> None:
    """The very release that was taken before."""
    assert client.jws is not None


def old_pack_as_new(cloud: Cloud, client: ScriptedClient) -> None:
    pack = cloud.pack(1)
    client.offer(pack, cloud.release(2, pack))


def holding(change: Callable[[dict[str, Tensor]], None], **facts: Any) -> Lie:
    return lambda cloud, client: client.offer(cloud.packed(change, **facts))


def no_tensors(cloud: Cloud, client: ScriptedClient) -> None:
    client.offer(b"these are not tensors")


def other_metadata(cloud: Cloud, client: ScriptedClient) -> None:
    client.offer(safetensors.torch.save(cloud.bundle.default_weights, {"mnet": '{"schema":"mnet.pack/9"}'}))


def first(parameters: dict[str, Tensor]) -> str:
    return next(iter(parameters))


LIES: dict[str, tuple[Lie, Reason]] = {
    "truncated": (truncated, Reason.WRONG_SIZE),
    "bit flipped": (bit_flipped, Reason.WRONG_HASH),
    "replayed": (replayed, Reason.STALE_VERSION),
    "older": (released_as(version=1), Reason.STALE_VERSION),
    "another key": (signed_by_another_key, Reason.BAD_SIGNATURE),
    "alg none": (unsigned, Reason.BAD_SIGNATURE),
    "another device": (released_as(device="other"), Reason.WRONG_DEVICE),
    "another bundle": (released_as(bundle="c" * 64), Reason.WRONG_BUNDLE),
    "expired": (released_as(expires_at=1), Reason.EXPIRED),
    "far too large": (released_as(size=10**12), Reason.WRONG_SIZE),
    "pack of an old version": (old_pack_as_new, Reason.MALFORMED),
    "pack of another bundle": (holding(lambda p: None, bundle_id="c" * 64), Reason.WRONG_BUNDLE),
    "no safetensors": (no_tensors, Reason.MALFORMED),
    "unknown pack schema": (other_metadata, Reason.MALFORMED),
    "nan": (holding(lambda p: p[first(p)].flatten()[0:1].fill_(float("nan"))), Reason.NOT_FINITE),
    "infinite": (holding(lambda p: p[first(p)].fill_(float("inf"))), Reason.NOT_FINITE),
    "missing tensor": (holding(lambda p: p.pop(first(p)) is None), Reason.MISSING_TENSOR),
    "extra tensor": (holding(lambda p: p.update(extra=torch.zeros(1))), Reason.EXTRA_TENSOR),
    "wrong shape": (holding(lambda p: p.update({first(p): torch.zeros(3)})), Reason.WRONG_SHAPE),
    "wrong dtype": (holding(lambda p: p.update({first(p): p[first(p)].half()})), Reason.WRONG_DTYPE),
    "probe of other weights": (holding(lambda p: None, probe=[9.0] * 16), Reason.SELF_TEST_FAILED),
}


@pytest.mark.parametrize("name", LIES)
def test_every_lie_is_refused_by_name(
    cloud: Cloud, client: ScriptedClient, phone: Phone, tmp_path: Path, name: str
) -> None:
    lie, reason = LIES[name]
    before = output(phone, cloud)
    lie(cloud, client)
    with pytest.raises(Refused) as refusal:
        phone.poll(client, 0)
    assert refusal.value.reason is reason
    assert phone.version == 1
    torch.testing.assert_close(output(phone, cloud), before, rtol=0, atol=0)
    # Nothing of it was kept, and the next good version is taken as if nothing had been.
    restarted, _ = start(cloud, tmp_path)
    assert restarted.version == 1
    take(phone, client, 2)
    assert phone.version == 2


def test_a_swap_changes_the_output_to_that_of_the_pack(
    cloud: Cloud, client: ScriptedClient, phone: Phone
) -> None:
    before = output(phone, cloud)
    take(phone, client, 5)
    assert (output(phone, cloud) - before).abs().max() > 1e-3


def test_a_phone_starts_on_its_last_version(
    cloud: Cloud, client: ScriptedClient, phone: Phone, tmp_path: Path
) -> None:
    take(phone, client, 2)
    again, events = start(cloud, tmp_path)
    assert (again.version, events) == (2, [])
    torch.testing.assert_close(output(again, cloud), output(phone, cloud), rtol=0, atol=0)


def damage_pack(state: Path, phone: Phone) -> None:
    assert phone.running is not None
    path = state / "packs" / f"{phone.running.sha256}.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:500] + bytes([data[500] ^ 8]) + data[501:])


def test_a_damaged_version_falls_back_to_the_one_before_and_can_come_again(
    cloud: Cloud, client: ScriptedClient, phone: Phone, tmp_path: Path
) -> None:
    take(phone, client, 4)
    damage_pack(tmp_path, phone)
    again, events = start(cloud, tmp_path)
    assert again.version == 1
    assert [(event["event"], event["reason"]) for event in events] == [("refused", Reason.WRONG_HASH)]
    # Version 3 was left behind by version 4, so it is no way back; version 4 itself may come again.
    pack = cloud.pack(3)
    client.offer(pack, cloud.release(3, pack))
    with pytest.raises(Refused) as refusal:
        again.poll(client, 0)
    assert refusal.value.reason is Reason.STALE_VERSION
    take(again, client, 4)
    assert start(cloud, tmp_path)[0].version == 4


def test_with_no_good_version_left_the_default_serves(
    cloud: Cloud, client: ScriptedClient, phone: Phone, tmp_path: Path
) -> None:
    (tmp_path / "current.jws").write_bytes(b"\xff\x00 not a release")
    again, events = start(cloud, tmp_path)
    assert again.version == 0
    assert [event["reason"] for event in events] == [Reason.BAD_SIGNATURE]
    torch.testing.assert_close(output(again, cloud), cloud.bundle.golden.default[0][0], rtol=0, atol=1e-4)


def test_a_forged_state_is_no_way_in(
    cloud: Cloud, client: ScriptedClient, phone: Phone, tmp_path: Path
) -> None:
    """Who can write the files but has not the key gets nothing to run."""
    pack = cloud.pack(9)
    (tmp_path / "packs" / f"{pack_digest(pack)}.safetensors").write_bytes(pack)
    (tmp_path / "current.jws").write_text(sign_release(cloud.other_key, cloud.release(9, pack)))
    again, events = start(cloud, tmp_path)
    assert again.version == 0
    assert events[0]["reason"] == Reason.BAD_SIGNATURE


def test_an_accepted_version_outlives_its_expiry(
    cloud: Cloud, client: ScriptedClient, phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 10 * 365 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert start(cloud, tmp_path)[0].version == 1


def test_a_full_disk_costs_the_next_start_and_not_this_one(
    cloud: Cloud, client: ScriptedClient, phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    pack = cloud.pack(2)
    client.offer(pack, cloud.release(2, pack))
    with monkeypatch.context() as patch:
        patch.setattr("mnet.toolchain.phone.pack_folder.write_durably", full)
        swapped = phone.poll(client, 0)
    assert swapped is not None
    assert not swapped.persisted
    assert phone.version == 2
    assert start(cloud, tmp_path)[0].version == 1
    take(phone, client, 3)
    assert start(cloud, tmp_path)[0].version == 3


def test_a_state_of_another_bundle_is_the_users_mistake(cloud: Cloud, phone: Phone, tmp_path: Path) -> None:
    identity = tmp_path / "identity.json"
    identity.write_text(identity.read_text().replace(cloud.bundle.id, "d" * 64))
    with pytest.raises(UserError, match="another bundle"):
        start(cloud, tmp_path)


def test_the_server_hears_what_became_of_a_release(
    cloud: Cloud, client: ScriptedClient, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    LIES["probe of other weights"][0](cloud, client)
    with pytest.raises(Refused):
        phone.poll(client, 0)
    take(phone, client, 3)
    assert client.reports == [(1, "taken"), (2, "self_test_failed"), (3, "taken")]

    def away(*_: object) -> None:
        raise Offline("no route")

    monkeypatch.setattr(client, "report", away)
    take(phone, client, 4)


def test_a_refused_release_is_not_fetched_again(client: ScriptedClient, cloud: Cloud, phone: Phone) -> None:
    LIES["nan"][0](cloud, client)
    with pytest.raises(Refused):
        phone.poll(client, 0)
    before = client.fetched
    assert phone.poll(client, 0) is None
    assert (client.fetched, client.asked[-1]) == (before, 2)
    assert client.reports[-1] == (2, "not_finite")
    client.jws = None
    assert phone.poll(client, 0) is None
    assert client.asked[-2:] == [2, 1], "what a stopped roll-out gives way to is still good"
    take(phone, client, 2)


def test_what_the_network_damaged_is_fetched_again(
    client: ScriptedClient, cloud: Cloud, phone: Phone
) -> None:
    LIES["bit flipped"][0](cloud, client)
    for _ in range(2):
        before = client.fetched
        with pytest.raises(Refused):
            phone.poll(client, 0)
        assert (client.fetched, client.asked[-1]) == (before + 1, 1)
