import json
from pathlib import Path
from typing import Any

import pytest

from mnet.export import format as bundle_format
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, IntegrityError
from mnet.export.format.manifest import json_schema, parse_manifest, seal


def content_of(bundle: Bundle, **changes: Any) -> dict[str, Any]:
    content = json.loads((bundle.path / "manifest.json").read_bytes())
    del content["id"]
    return content | changes


def test_the_committed_schema_is_current() -> None:
    committed = Path(bundle_format.__path__[0]) / "schema" / "bundle-2.json"
    assert committed.read_text() == json_schema(), (
        "write json_schema() to export/format/schema/bundle-2.json again"
    )


def test_the_id_is_the_hash_of_the_bytes_without_it(bundle: Bundle) -> None:
    import hashlib

    raw = (bundle.path / "manifest.json").read_bytes()
    assert hashlib.sha256(raw.replace(f'"id":"{bundle.id}",'.encode(), b"")).hexdigest() == bundle.id


def test_no_byte_of_the_manifest_can_be_changed(bundle: Bundle) -> None:
    raw = (bundle.path / "manifest.json").read_bytes()
    for position in range(len(raw)):
        for flip in (0x01, 0x80, 0xFF):
            changed = raw[:position] + bytes([raw[position] ^ flip]) + raw[position + 1 :]
            with pytest.raises(IntegrityError):
                parse_manifest(changed)


@pytest.mark.parametrize("extra", [b" ", b"\n", b"\0"])
def test_nothing_can_be_added_to_the_manifest(bundle: Bundle, extra: bytes) -> None:
    raw = (bundle.path / "manifest.json").read_bytes()
    for changed in (raw + extra, extra + raw, raw.replace(b",", b"," + extra, 1)):
        with pytest.raises(IntegrityError):
            parse_manifest(changed)


@pytest.mark.parametrize("schema", ["mnet.bundle/1.0", "mnet.bundle/3.0", "mnet.bundle/2", "other/2.0"])
def test_another_schema_is_no_damage_but_not_read(bundle: Bundle, schema: str) -> None:
    sealed = seal(content_of(bundle, schema=schema))
    edited = json.dumps(content_of(bundle, schema=schema, id=bundle.id), indent=2).encode()
    for raw in (sealed, edited):
        with pytest.raises(BundleError, match="schema") as caught:
            parse_manifest(raw)
        assert not isinstance(caught.value, IntegrityError)


def test_a_later_minor_version_is_read(bundle: Bundle) -> None:
    manifest = parse_manifest(seal(content_of(bundle, schema="mnet.bundle/2.9", news={"a": 1})))
    assert manifest.slots == bundle.manifest.slots


@pytest.mark.parametrize("path", ["../model.pte", "/etc/passwd", "a/../../b", "", "a//b", "a\\b", "./a"])
def test_no_path_leaves_the_bundle(bundle: Bundle, path: str) -> None:
    content = content_of(bundle)
    content["model"]["program"] = path
    with pytest.raises(BundleError, match="program"):
        parse_manifest(seal(content))


def test_a_manifest_without_an_entry_says_which(bundle: Bundle) -> None:
    content = content_of(bundle)
    del content["slots"]
    with pytest.raises(BundleError, match="slots"):
        parse_manifest(seal(content))
