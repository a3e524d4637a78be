"""The small signed statement "device D, bundle B: version V is pack P".

Format: JWS compact (RFC 7515) of JWT claims (RFC 7519), signed with ES256 (RFC 7518) and no other algorithm.
"""

import json
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidPayloadError, JoseError
from joserfc.jwk import KeySet

from mnet.export.format.errors import Reason, Refused
from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.contract.jws import ALGORITHM, SigningKey, sign

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Release:
    """One version of one device's weights.

    `sha256` and `size` (bytes) name the pack; `issued_at` and `expires_at` are Unix seconds.
    """

    device: str
    bundle: str
    version: int
    sha256: str
    size: int
    issued_at: int
    expires_at: int


# Claim name in the JWS → field; the registered names of RFC 7519 where there is one.
_CLAIMS = {
    "sub": "device",
    "bundle": "bundle",
    "version": "version",
    "sha256": "sha256",
    "size": "size",
    "iat": "issued_at",
    "exp": "expires_at",
}


def sign_release(key: SigningKey, release: Release) -> str:
    """The release as JWS compact; the header's `kid` names the key."""
    return sign(key, {claim: getattr(release, field) for claim, field in _CLAIMS.items()})


def verify_release(
    jws: str, keys: KeySet, *, device: str, bundle: str, newer_than: int, now: int | None
) -> Release:
    """The release that `jws` states, after every check that needs no pack.

    `now` in Unix seconds; None leaves out the expiry, for a release that was accepted while it was valid.
    Raises Refused with bad_signature, malformed, wrong_device, wrong_bundle, stale_version or expired.
    """
    release = _read_signed(jws, keys)
    if release.device != device:
        raise Refused(Reason.WRONG_DEVICE, f"the release is for device {release.device}, this is {device}")
    if release.bundle != bundle:
        raise Refused(Reason.WRONG_BUNDLE, f"the release is for bundle {release.bundle}, this runs {bundle}")
    if release.version <= newer_than:
        raise Refused(Reason.STALE_VERSION, f"version {release.version} does not follow version {newer_than}")
    if now is not None and now >= release.expires_at:
        raise Refused(
            Reason.EXPIRED, f"version {release.version} expired at {release.expires_at}, it is {now}"
        )
    return release


def stated_release(jws: str) -> Release:
    """What a JWS of one's own says, its signature unchecked; Refused with malformed where it is no release."""
    try:
        claims = json.loads(urlsafe_b64decode(jws.split(".")[1] + "=="))
        return _checked({field: claims[claim] for claim, field in _CLAIMS.items()})
    except (ValueError, LookupError, TypeError) as error:
        raise Refused(Reason.MALFORMED, f"no release: {error}") from error


def _read_signed(jws: str, keys: KeySet) -> Release:
    """Claims of a JWS with a good ES256 signature by one of `keys`; `alg` in the header is never trusted."""
    try:
        claims = jwt.decode(jws, keys, algorithms=[ALGORITHM]).claims
    except InvalidPayloadError as error:
        raise Refused(Reason.MALFORMED, "the signed payload is not a JSON object") from error
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Refused(
            Reason.BAD_SIGNATURE, f"no good {ALGORITHM} signature by a pinned key: {error}"
        ) from error
    try:
        fields = {field: claims[claim] for claim, field in _CLAIMS.items()}
    except KeyError as error:
        raise Refused(Reason.MALFORMED, f"the release has no claim {error}") from error
    return _checked(fields)


def _checked(fields: dict[str, Any]) -> Release:
    """A Release whose fields have the types and ranges of the contract."""
    texts = ("device", "bundle", "sha256")
    for name, value in fields.items():
        expected = str if name in texts else int
        if type(value) is not expected:  # not isinstance: JSON's true is an int to Python
            raise Refused(Reason.MALFORMED, f"claim for {name} is not {expected.__name__}")
    in_range = 1 <= fields["version"] <= MAX_VERSION and 1 <= fields["size"] < 2**63
    if not in_range or not _SHA256.fullmatch(fields["sha256"]):
        raise Refused(
            Reason.MALFORMED,
            f"versions are 1 to {MAX_VERSION}, sizes start at 1, sha256 is 64 lower-case hex digits",
        )
    return Release(**fields)
