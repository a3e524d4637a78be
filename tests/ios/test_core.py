"""The package's own XCTest cases, on this machine."""

import pytest

from ios.hosttest import swift
from tests.ios.conftest import or_skip


def test_the_core_passes_its_tests() -> None:
    assert or_skip(lambda: swift.run_tests(swift.CORE_TESTS)) >= 15


def test_what_needs_no_coreml_of_its_library_passes_its_tests() -> None:
    assert or_skip(lambda: swift.run_tests(swift.COREML_TESTS)) >= 4


@pytest.mark.parametrize("target", [swift.EXECUTORCH, swift.EXAMPLE], ids=lambda target: target.name)
def test_what_needs_frameworks_of_apples_compiles_against_stand_ins(target: swift.Target) -> None:
    or_skip(lambda: swift.compiled(target))


def test_the_core_compiles_against_a_stand_in_for_cryptokit() -> None:
    names = ("Cryptography", "CryptoKitCryptography")
    files = [(swift.PACKAGE / f"Sources/MNetCore/{name}.swift").read_text() for name in names]
    or_skip(
        lambda: swift.compiled(swift.written("OnCryptoKit", "\n".join(files), (swift.CRYPTOKIT_STAND_IN,)))
    )
