"""Mutated packs and releases on a real session: none is taken, none does any harm.

The number is an option: `pytest tests/phone/test_mutations.py -s --mutations 10000`.
"""

import math
import random
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Reason, Refused
from mnet.export.format.packs import pack_digest, read_pack
from mnet.toolchain.cloud.generation import PackGenerator
from mnet.toolchain.cloud.signing_keys import create_signing_key
from mnet.toolchain.contract.keys import public_keys
from mnet.toolchain.contract.release import Release, sign_release
from mnet.toolchain.phone.client import CloudClient, Identity, Newest
from mnet.toolchain.phone.phone import Phone
from mnet.toolchain.training.run import load_run


class Offering(CloudClient):
    """A server that offers one release and one pack, whatever is asked."""

    def __init__(self, keys: dict[str, object]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.keys = keys
        self.jws, self.pack = "", b""
        self.reports = Counter[str]()

    def enrol(self, enrolment_key: str, bundle: str, cohort: str | None = None) -> Identity:
        return Identity("phone", bundle, "phone.secret", self.keys)

    def newest_release(self, phone: Identity, after: int, wait_s: float) -> Newest:
        return Newest(self.jws)

    def fetch_pack(self, phone: Identity, sha256: str, size: int) -> bytes:
        return self.pack

    def key_statements(self, phone: Identity) -> list[str]:
        return []

    def report(self, phone: Identity, version: int, outcome: str) -> None:
        self.reports[outcome] += 1


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The same with something changed: bits, bytes, a cut, a repetition, an insertion."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 3, 20])):
        place = draw.randrange(len(changed) or 1)
        match draw.randrange(6):
            case 0 if changed:
                changed[place] ^= 1 << draw.randrange(8)
            case 1:
                changed[place : place + 1] = bytes([draw.randrange(256)])
            case 2:
                del changed[place:]
            case 3:
                del changed[place : place + draw.randrange(1, 40)]
            case 4:
                changed[place:place] = draw.randbytes(draw.randrange(1, 40))
            case _:
                changed += changed[place : place + 100]
    return bytes(changed)


def test_no_mutation_is_taken(
    tiny_run: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mnet.toolchain.phone.refused_packs.DAMAGED_DOWNLOADS", math.inf)
    count, draw = request.config.getoption("--mutations"), random.Random(11)
    bundle, key = Bundle.load(tiny_bundle), create_signing_key(tmp_path / "signing.pem")
    pack = PackGenerator(load_run(tiny_run), bundle).packs([[1, 2, 3]], [1])[0]
    client, now = Offering(public_keys(key)), int(time.time())
    good = sign_release(key, Release("phone", bundle.id, 1, pack_digest(pack), len(pack), now, now + 600))
    phone = Phone(bundle, tmp_path / "phone", lambda event, **fields: None)
    phone.enrol(client, "key")
    before, reasons = phone.live.run(bundle.golden.inputs[0])[0], Counter[str]()
    for turn in range(count):
        client.jws, client.pack = good, pack
        if turn % 2:
            client.pack = mutated(pack, draw)
        else:
            client.jws = mutated(good.encode(), draw).decode("latin-1")
        if (client.jws, client.pack) == (good, pack):
            continue
        with pytest.raises(Refused) as refusal:
            phone.poll(client, 0)
        reasons[refusal.value.reason] += 1
        assert phone.version == 0
    torch.testing.assert_close(phone.live.run(bundle.golden.inputs[0])[0], before, rtol=0, atol=0)
    print(f"\n{count} mutations refused: {dict(reasons.most_common())}")
    client.jws, client.pack = good, pack
    swapped = phone.poll(client, 0)
    assert swapped is not None
    assert client.reports["taken"] == 1


def test_a_mutated_pack_that_is_signed_is_read_or_refused_by_name(
    tiny_run: Path, tiny_bundle: Path, request: pytest.FixtureRequest
) -> None:
    """Behind the digest: whatever a broken server signs, what is read has the shapes of the slots and is finite."""
    count, draw, reasons = request.config.getoption("--mutations"), random.Random(12), Counter[str]()
    bundle = Bundle.load(tiny_bundle)
    pack = PackGenerator(load_run(tiny_run), bundle).packs([[1, 2, 3]], [1])[0]
    header = 8 + int.from_bytes(pack[:8], "little")
    for turn in range(count):
        data = mutated(pack[:header], draw) + pack[header:] if turn % 2 else mutated(pack, draw)
        try:
            read = read_pack(data, bundle.manifest)
        except Refused as refusal:
            reasons[refusal.reason] += 1
            continue
        reasons["read"] += 1
        for slot in bundle.manifest.slots:
            assert read.parameters[slot.parameter].shape == slot.shape
            assert read.parameters[slot.parameter].isfinite().all()
    print(f"\n{count} mutations: {dict(reasons.most_common())}")
    assert reasons["read"] > 0, (
        "as where only a digit of the probe has changed: that is for the self-test to find"
    )
    assert reasons[Reason.MALFORMED] > 0
