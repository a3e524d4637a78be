"""What the host phone makes of a test vector."""

import base64
import shutil
from pathlib import Path
from typing import Any

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, IntegrityError, Reason, Refused
from mnet.export.format.manifest import parse_manifest
from mnet.export.format.packs import read_pack
from mnet.export.format.shift import Shift
from mnet.export.session import open_session
from mnet.export.targets import find_target
from mnet.toolchain.contract.keys import load_public_keys, read_statement
from mnet.toolchain.contract.release import Release, verify_release
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.request_policies import STATISTIC, request_policy
from mnet.toolchain.phone.store import check_bytes
from tests.vectors.probes import right


def verdict(vector: dict[str, Any], phone: dict[str, Any], bundle: Path, scratch: Path) -> str:
    """As `tests.vectors.write` says; `bundle` is the one that the vector is about."""
    if vector["kind"] == "keys":
        return "accepted" if _believed(vector, phone) else "not_believed"
    if vector["kind"] == "asks":
        return _asks(vector, Bundle.load(bundle), scratch)
    if vector["kind"] == "probe":
        return "accepted" if right(vector) else Reason.SELF_TEST_FAILED
    try:
        _JUDGES[vector["kind"]](vector, phone, bundle, scratch)
    except (Refused, IntegrityError) as refusal:
        return str(refusal.reason)
    except BundleError:
        return "bundle_error"
    return "accepted"


def _release(vector: dict[str, Any], phone: dict[str, Any], bundle: Path, _: Path) -> None:
    _verified(vector["jws"], phone, bundle, vector["newer_than"], vector["now"])


def _believed(vector: dict[str, Any], phone: dict[str, Any]) -> bool:
    try:
        read_statement(vector["statement"], phone["keys"], phone["now"])
    except ValueError:
        return False
    return True


def _pack(vector: dict[str, Any], _: dict[str, Any], bundle: Path, __: Path) -> None:
    read_pack(base64.b64decode(vector["pack"]), Bundle.load(bundle).manifest)


def _install(vector: dict[str, Any], phone: dict[str, Any], bundle: Path, _: Path) -> None:
    """As `mnet.toolchain.phone.phone.Phone` does, up to the swap."""
    release = _verified(vector["jws"], phone, bundle, newer_than=0, now=phone["now"])
    check_bytes(base64.b64decode(vector["pack"]), release)


def _swap(vector: dict[str, Any], _: dict[str, Any], bundle: Path, __: Path) -> None:
    session = open_session(Bundle.load(bundle))
    for pack in vector["packs"]:
        session.swap(base64.b64decode(pack))


def _manifest(vector: dict[str, Any], *_: object) -> None:
    manifest = parse_manifest(base64.b64decode(vector["manifest"]))
    manifest.bound_by(find_target(manifest.target).slots)


def _bundle(vector: dict[str, Any], _: dict[str, Any], bundle: Path, scratch: Path) -> None:
    changed = scratch / "bundle"
    shutil.copytree(bundle, changed)
    for name, content in vector["files"].items():
        if content is None:
            (changed / name).unlink()
        else:
            (changed / name).write_bytes(base64.b64decode(content))
    Bundle.load(changed)


def _policy(vector: dict[str, Any], *_: object) -> None:
    Shift.from_bytes(base64.b64decode(vector["file"]))


def _asks(vector: dict[str, Any], bundle: Bundle, state: Path) -> str:
    if vector["state"] is not None:
        (state / STATISTIC).write_text(vector["state"], encoding="utf-8")
    done = []
    try:
        policy = request_policy(vector["policy"], bundle, state)
        for chance in range(len(vector["samples"])):
            if chance in vector["restarts"]:
                policy = request_policy(vector["policy"], bundle, state)
            context = vector["samples"][max(0, chance + 1 - vector["window"]) : chance + 1]
            asks = policy.asks(context)
            policy.went_on(context, asked=asks)
            done.append("ask" if asks else "wait")
    except UserError:
        return "user_error"
    return " ".join(done)


def _verified(jws: str, phone: dict[str, Any], bundle: Path, newer_than: int, now: int | None) -> Release:
    keys = load_public_keys(phone["keys"])
    bundle_id = Bundle.load(bundle).id
    return verify_release(jws, keys, device=phone["device"], bundle=bundle_id, newer_than=newer_than, now=now)


_JUDGES = {
    "release": _release,
    "pack": _pack,
    "install": _install,
    "swap": _swap,
    "manifest": _manifest,
    "bundle": _bundle,
    "policy": _policy,
}
