"""What a device accepts as a release, and under which name it refuses everything else."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws as jose_jws
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from mnet.export.format.errors import Reason, Refused
from mnet.toolchain.cloud.signing_keys import create_key, create_signing_key, load_signing_key, read_key
from mnet.toolchain.contract.keys import load_public_keys, public_keys
from mnet.toolchain.contract.release import Release, sign_release, verify_release
from mnet.toolchain.errors import UserError

NOW = 1_700_000_000
RELEASE = Release("phone", "b" * 64, 7, "0f" * 32, 4096, NOW, NOW + 60)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> ECKey:
    return create_signing_key(tmp_path_factory.mktemp("keys") / "signing.pem")


@pytest.fixture(scope="module")
def keys(key: ECKey) -> KeySet:
    return load_public_keys(public_keys(key))


def verify(jws: str, keys: KeySet, newer_than: int = 6, now: int | None = NOW) -> Release:
    return verify_release(jws, keys, device="phone", bundle="b" * 64, newer_than=newer_than, now=now)


def reason_of(jws: str, keys: KeySet) -> Reason:
    with pytest.raises(Refused) as refusal:
        verify(jws, keys)
    return refusal.value.reason


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(jws: str) -> dict[str, object]:
    payload = jws.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def sign_claims(key: ECKey, **changed: object) -> str:
    claims = claims_of(sign_release(key, RELEASE)) | changed
    return jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key)


def test_a_signed_release_is_read_back(key: ECKey, keys: KeySet) -> None:
    assert verify(sign_release(key, RELEASE), keys) == RELEASE


def test_the_claims_are_those_of_the_contract(key: ECKey) -> None:
    assert claims_of(sign_release(key, RELEASE)) == {
        "sub": "phone",
        "bundle": "b" * 64,
        "version": 7,
        "sha256": "0f" * 32,
        "size": 4096,
        "iat": NOW,
        "exp": NOW + 60,
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": "another"}, Reason.WRONG_DEVICE),
        ({"bundle": "c" * 64}, Reason.WRONG_BUNDLE),
        ({"version": 6}, Reason.STALE_VERSION),
        ({"version": 5}, Reason.STALE_VERSION),
        ({"expires_at": NOW}, Reason.EXPIRED),
    ],
)
def test_a_release_for_another_time_or_place_is_refused(
    key: ECKey, keys: KeySet, change: dict[str, object], reason: Reason
) -> None:
    assert reason_of(sign_release(key, replace(RELEASE, **change)), keys) is reason


def test_an_accepted_release_outlives_its_expiry(key: ECKey, keys: KeySet) -> None:
    assert verify(sign_release(key, replace(RELEASE, expires_at=NOW - 1)), keys, now=None).version == 7


def test_another_key_is_refused_whatever_kid_it_claims(key: ECKey, keys: KeySet, tmp_path: Path) -> None:
    other = create_signing_key(tmp_path / "other.pem")
    assert reason_of(sign_release(other, RELEASE), keys) is Reason.BAD_SIGNATURE
    forged = jwt.encode({"alg": "ES256", "kid": key.kid}, claims_of(sign_release(key, RELEASE)), other)
    assert reason_of(forged, keys) is Reason.BAD_SIGNATURE


def with_alg_none(jws: str, keys: KeySet) -> str:
    return ".".join([base64url(b'{"alg":"none"}'), jws.split(".")[1], ""])


def with_public_key_as_hmac_secret(jws: str, keys: KeySet) -> str:
    """The classic confusion: HS256 keyed with the public key that everyone has."""
    header = {"alg": "HS256", "kid": keys.keys[0].kid}
    signed = f"{base64url(json.dumps(header).encode())}.{jws.split('.')[1]}"
    secret = keys.keys[0].as_pem(private=False)
    return f"{signed}.{base64url(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def with_an_unknown_kid(jws: str, keys: KeySet) -> str:
    return ".".join([base64url(b'{"alg":"ES256","kid":"x"}'), *jws.split(".")[1:]])


def with_a_changed_claim(jws: str, keys: KeySet) -> str:
    header, _, signature = jws.split(".")
    return f"{header}.{base64url(json.dumps(claims_of(jws) | {'version': 99}).encode())}.{signature}"


def truncated(jws: str, keys: KeySet) -> str:
    return jws[:-8]


def nothing(jws: str, keys: KeySet) -> str:
    return ""


@pytest.mark.parametrize(
    "forge",
    [
        with_alg_none,
        with_public_key_as_hmac_secret,
        with_an_unknown_kid,
        with_a_changed_claim,
        truncated,
        nothing,
    ],
)
def test_a_forged_release_is_refused(key: ECKey, keys: KeySet, forge: Callable[[str, KeySet], str]) -> None:
    assert reason_of(forge(sign_release(key, RELEASE), keys), keys) is Reason.BAD_SIGNATURE


def test_every_flipped_character_is_refused(key: ECKey, keys: KeySet) -> None:
    jws = sign_release(key, RELEASE)
    end = len(jws) - 1  # the last character carries 2 bits of signature and 4 that base64url ignores
    for place in range(0, end, 7):
        flipped = jws[:place] + ("A" if jws[place] != "A" else "B") + jws[place + 1 :]
        assert reason_of(flipped, keys) is Reason.BAD_SIGNATURE, place


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "8"},
        {"version": True},
        {"version": 8.0},
        {"version": 0},
        {"size": -1},
        {"sha256": "../../etc/passwd"},
        {"sha256": "0F" * 32},
        {"sub": None},
        {"exp": "never"},
    ],
)
def test_a_signed_claim_of_another_type_is_malformed(
    key: ECKey, keys: KeySet, changed: dict[str, object]
) -> None:
    assert reason_of(sign_claims(key, **changed), keys) is Reason.MALFORMED


def test_a_signed_release_without_a_claim_or_an_object_is_malformed(key: ECKey, keys: KeySet) -> None:
    claims = claims_of(sign_release(key, RELEASE))
    del claims["sha256"]
    header = {"alg": "ES256", "kid": key.kid}
    assert reason_of(jwt.encode(header, claims, key), keys) is Reason.MALFORMED
    assert reason_of(jose_jws.serialize_compact(header, b"[1, 2]", key), keys) is Reason.MALFORMED


def test_a_key_is_private_to_its_owner_and_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    created = create_signing_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_signing_key(path).kid == created.kid
    assert "d" not in public_keys(created)["keys"][0]


def test_a_key_that_cannot_be_trusted_is_the_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    with pytest.raises(UserError, match="cannot be read"):
        load_signing_key(path)
    create_signing_key(path)
    path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        load_signing_key(path)
    path.write_bytes(ECKey.generate_key("P-384").as_pem(private=True))
    path.chmod(0o600)
    with pytest.raises(UserError, match="P-256"):
        load_signing_key(path)


def test_a_secret_is_private_and_nothing_else_passes_for_one(tmp_path: Path) -> None:
    path = tmp_path / "operator.key"
    with pytest.raises(UserError, match="cannot read"):
        read_key(path)
    create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == path.read_text().strip()
    for content in ("", "short", "two lines of\nsome other file", "schlüssel" * 9):
        path.write_text(content)
        with pytest.raises(UserError, match="not a key file"):
            read_key(path)


def test_a_key_set_without_keys_is_no_key_set() -> None:
    several: tuple[Any, ...] = ({}, {"keys": []}, {"keys": 3}, {"keys": [{"kty": "EC"}]})
    for wrong in several:
        with pytest.raises(ValueError, match="Key Set"):
            load_public_keys(wrong)
