"""A phone whose server is silenced notices within a day, over restarts, and says so; a statement makes it fresh."""

import time
from pathlib import Path

import pytest

from mnet.toolchain.contract.freshness import LIFETIME_S, fresh_until, nothing_newer
from mnet.toolchain.contract.keys import load_public_keys, public_keys
from mnet.toolchain.contract.release import sign_release
from mnet.toolchain.phone.client import Offline
from mnet.toolchain.phone.staleness import DAY_S
from tests.phone.scripted import Cloud, ScriptedClient, start, take

NOW = 1_800_000_000


def test_a_silenced_phone_becomes_stale_once_and_fresh_again(
    cloud: Cloud, client: ScriptedClient, tmp_path: Path
) -> None:
    clock = [time.time()]
    phone, events = start(cloud, tmp_path, lambda: clock[0])
    phone.enrol(client, "key")
    take(phone, client, 1)
    client.jws = None

    def poll(days: float, *, stated: bool) -> list[str]:
        clock[0] += days * DAY_S
        statement = nothing_newer(cloud.key, "phone", cloud.bundle.id, phone.version, int(clock[0]))
        client.nothing_newer = statement if stated else None
        before = len(events)
        assert phone.poll(client, 0) is None
        return [event["event"] for event in events[before:]]

    assert poll(0.9, stated=True) == poll(0.9, stated=True) == poll(0.9, stated=False) == []
    assert not phone.stale
    assert poll(0.2, stated=False) == ["stale"]
    assert phone.stale
    assert poll(400, stated=False) == []
    # Over restarts too.
    phone, events = start(cloud, tmp_path, lambda: clock[0])
    assert poll(0.1, stated=False) == ["stale"]
    assert poll(0.1, stated=True) == ["fresh"]
    assert not phone.stale
    assert [report for report in client.reports if report[1] == "stale"] == [(1, "stale"), (1, "stale")]
    assert poll(2, stated=False) == ["stale"]


def test_a_phone_without_any_network_becomes_stale_too(
    cloud: Cloud, client: ScriptedClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [time.time()]
    phone, events = start(cloud, tmp_path, lambda: clock[0])
    phone.enrol(client, "key")

    def away(*_: object) -> None:
        raise Offline("no route")

    for name in ("newest_release", "report", "key_statements"):
        monkeypatch.setattr(client, name, away)
    clock[0] += 2 * DAY_S
    with pytest.raises(Offline):
        phone.poll(client, 0)
    assert [event["event"] for event in events] == ["enrolled", "stale", "not_reported"]
    assert phone.stale


def test_a_statement_is_about_one_phone_one_version_and_one_day(cloud: Cloud) -> None:
    keys = load_public_keys(public_keys(cloud.key))
    about = {"device": "phone", "bundle": "bundle", "version": 3}
    good = nothing_newer(cloud.key, "phone", "bundle", 3, NOW)

    def until(statement: str = good, now: int = NOW, **changed: object) -> int:
        return fresh_until(statement, keys, now=now, **{**about, **changed})  # type: ignore[arg-type]

    assert until() == NOW + LIFETIME_S
    assert until(now=NOW + 60) == NOW + LIFETIME_S
    assert until(nothing_newer(cloud.key, "phone", "bundle", 3, NOW + 3600)) == NOW + LIFETIME_S
    for changed in ({"device": "other"}, {"bundle": "other"}, {"version": 2}):
        with pytest.raises(ValueError, match="it is about"):
            until(**changed)
    for now in (NOW + LIFETIME_S, NOW - LIFETIME_S - 1):
        with pytest.raises(ValueError, match="issued"):
            until(now=now)
    pack = cloud.pack(3)
    for other in (
        nothing_newer(cloud.other_key, "phone", "bundle", 3, NOW),
        sign_release(cloud.key, cloud.release(3, pack)),
        "",
        good[:-4],
    ):
        with pytest.raises(ValueError, match=r"statement|says nothing"):
            until(other)
