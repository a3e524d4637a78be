"""Signing keys on a PKCS#11 token, on SoftHSM: a real library, a real session that is lost, real phones."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from joserfc.jwk import ECKey

from mnet.toolchain.cloud.signing_keys import (
    SIGNING,
    Keyring,
    create_signing_key,
    load_signing_key,
    pin_roots,
    rotate,
)
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.cloud.token_keys import PIN, TokenKey, _module
from mnet.toolchain.contract.jws import KeyAway, sign
from mnet.toolchain.contract.keys import believed_statement, load_public_keys, public_keys, signer
from mnet.toolchain.contract.release import Release, sign_release, verify_release
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.processes import PhoneProcess, ServerProcess
from tests.cloud.callers import eventually
from tests.cloud.softhsm import SECRET, Token, softhsm
from tests.mnet_command import Mnet

NOW = int(time.time())
WITHIN_S = 90.0  # on a busy machine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    """A token named `mnet` with the P-256 pairs `one` and `two`, a pair on another curve, and halves of two."""
    with softhsm(tmp_path_factory.mktemp("softhsm")) as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(found.config))
        found.generate("one", "two")
        found.generate("p384", curve="secp384r1")
        found.mix("mixed", "one", "two")
        yield found


@pytest.fixture
def token(made: Token, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    """The same, for a process that knows nothing of it yet."""
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.config))
    monkeypatch.delenv(PIN, raising=False)
    yield made
    monkeypatch.undo()
    _module.cache_clear()
    made.let_go()


def test_a_phone_believes_what_a_token_signs(token: Token) -> None:
    key = TokenKey(token.uri("one"))
    release = Release("device", "bundle", 1, "0" * 64, 1, NOW, NOW + 60)
    known = load_public_keys(public_keys(key))
    read = verify_release(
        sign_release(key, release), known, device="device", bundle="bundle", newer_than=0, now=NOW
    )
    assert read == release
    assert key.kid == ECKey.import_key(known.keys[0].as_dict(private=False)).thumbprint()
    with pytest.raises(Exception, match="bad_signature"):
        by_another = sign_release(TokenKey(token.uri("two")), release)
        verify_release(by_another, known, device="device", bundle="bundle", newer_than=0, now=NOW)


def changed(old: str, new: str) -> Callable[[str], str]:
    return lambda uri: uri.replace(old, new)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (changed("token=mnet", "token=other"), r"the PKCS#11 module \S+ knows no token other"),
        (changed("object=one", "object=none"), "token mnet has no P-256 key pair none"),
        (changed("object=one", "id=%09"), "token mnet has no P-256 key pair 09"),
        (changed("object=one", "object=p384"), "p384 on token mnet is not a P-256 key"),
        (
            changed("object=one", "object=mixed"),
            "the public and the private key mixed on token mnet are no pair",
        ),
        (changed("libsofthsm2.so", "absent.so"), r"module \S+absent.so cannot be loaded: No such file"),
        (
            changed("/pin", "/absent"),
            r"the PIN of token mnet cannot be read from \S+absent: FileNotFoundError",
        ),
        (lambda uri: uri.partition("&pin-source")[0], f"token mnet needs a PIN: .*{PIN}"),
        (changed("pin-source=", f"pin-value={SECRET}&x="), "a PIN does not belong into a PKCS#11 URI"),
        (changed("pin-source=file:", "pin-source=|"), "from a command, which is not run"),
        (
            changed("object=one", "slot-id=0"),
            "the PKCS#11 URI says slot-id; a token is named by token or serial",
        ),
        (changed(";object=one", ""), "the PKCS#11 URI names no key"),
        (lambda uri: uri.partition("?")[0], "the PKCS#11 URI names no library"),
    ],
)
def test_each_mistake_is_named_in_one_line(
    token: Token, mnet: Mnet, tmp_path: Path, spoil: Callable[[str], str], said: str
) -> None:
    code, out, err = mnet(
        "keys", "create", "--state", tmp_path / "state", "--signing-key", spoil(token.uri("one"))
    )
    assert code == 2
    assert len(err.splitlines()) == 1
    with pytest.raises(UserError, match=said) as caught:
        TokenKey(spoil(token.uri("one")))
    assert str(caught.value) in err
    assert SECRET not in out + err
    assert not (tmp_path / "state" / "keys" / SIGNING).exists()


def test_without_the_library_it_is_named(token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(UserError, match="pip install 'mnet-mobile\\[hsm\\]'"):
        TokenKey(token.uri("one"))


def test_the_pin_may_be_in_the_environment(token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PIN, SECRET)
    assert TokenKey(token.uri("one").partition("&")[0]).kid == TokenKey(token.uri("one")).kid


def test_a_wrong_pin_is_not_tried_again_for_it_would_lock_the_token(token: Token) -> None:
    token.pin.write_text("0000")
    for said in ("refused the PIN$", "refused the PIN, which is not tried again", "not tried again"):
        with pytest.raises(UserError, match=said):
            TokenKey(token.uri("one"))
    token.pin.write_text(SECRET)
    assert len(TokenKey(token.uri("one")).es256(b"data")) == 64


def test_a_lost_session_is_opened_again_and_a_token_that_is_away_may_come_back(token: Token) -> None:
    one, two = TokenKey(token.uri("one")), TokenKey(token.uri("two"))
    known = load_public_keys(public_keys(one, two))
    token.lose_sessions()
    for key in (one, two):
        verify_release(
            sign_release(key, Release("d", "b", 1, "0" * 64, 1, NOW, NOW + 60)),
            known,
            device="d",
            bundle="b",
            newer_than=0,
            now=NOW,
        )
    with token.away():
        for _ in range(2):
            with pytest.raises(KeyAway, match="knows no token mnet"):
                sign(one, {})
    assert sign(one, {}).count(".") == 2


def test_keys_on_a_token_and_in_files_follow_each_other(token: Token, tmp_path: Path, mnet: Mnet) -> None:
    state = tmp_path / "state"
    folder = ServerState.open(state).keys
    first = Keyring.load(folder)
    there = ("keys", "create", "--state", state, "--signing-key", token.uri("one"))
    assert "`mnet keys rotate --signing-key`" in mnet(*there)[2]
    code, out, _ = mnet("keys", "rotate", "--state", state, "--signing-key", token.uri("one"))
    assert (code, out.count("on token mnet"), out.count("vouching")) == (0, 1, 1)
    assert SECRET.encode() not in (folder / SIGNING).read_bytes()
    assert (folder / SIGNING).stat().st_mode & 0o777 == 0o600
    for other, said in ((None, "name it by --signing-key"), (token.uri("one"), "has already")):
        with pytest.raises(UserError, match=said):
            rotate(folder, uri=other)
    rotate(folder, uri=token.uri("two"))
    ring = Keyring.load(folder)
    statement = believed_statement(ring.statements(NOW), first.jwks, None, NOW)
    assert statement is not None
    kids = {TokenKey(token.uri(name)).kid for name in ("one", "two")} | {first.signing.kid}
    assert {key["kid"] for key in statement.keys["keys"]} == kids


def test_a_token_that_is_lost_for_good_is_replaced_by_root_keys(token: Token, tmp_path: Path) -> None:
    folder = ServerState.open(tmp_path / "state", signing_key=token.uri("one")).keys
    root = create_signing_key(tmp_path / "root.pem")
    on_token = tmp_path / "root.uri"
    on_token.write_text(token.uri("two"))
    on_token.chmod(0o600)
    pin_roots(folder, [root, load_signing_key(on_token)], 1)
    first = Keyring.load(folder)
    with softhsm(tmp_path / "next", label="next") as spare, pytest.MonkeyPatch.context() as patch:
        token.let_go()
        patch.setenv("SOFTHSM2_CONF", str(spare.config))
        spare.generate("three")
        new = rotate(folder, [root], stolen=True, uri=spare.uri("three"))
        statement = believed_statement(
            Keyring.load(folder).statements(NOW), first.jwks, first.stated.roots, NOW
        )
        assert statement is not None
        assert (statement.epoch, statement.keys) == (1, public_keys(new))
        spare.let_go()


def test_a_population_is_signed_by_a_token(
    token: Token, tiny_run: Path, tiny_bundle: Path, tmp_path: Path, mnet: Mnet
) -> None:
    contexts = pa.table({"device": ["a", "b"], "samples": [[1, 2], [3]]})
    pq.write_table(contexts, tmp_path / "contexts.parquet")
    keys = ServerState.open(tmp_path / "state", signing_key=token.uri("one")).keys
    given = ("--bundle", tiny_bundle, "--contexts", tmp_path / "contexts.parquet", "--out", tmp_path / "out")
    code, _, err = mnet("generate", tiny_run, *given, "--signing-key", keys / SIGNING, "--json")
    assert code == 0, err
    (part,) = (tmp_path / "out").glob("part-*")
    known = load_public_keys(public_keys(TokenKey(token.uri("one"))))
    for row in pq.read_table(part).to_pylist():
        asked = {"device": row["device"], "bundle": row["bundle"], "newer_than": 0, "now": NOW}
        assert verify_release(row["release"], known, **asked).sha256 == row["sha256"]


def test_a_fleet_moves_to_a_token_and_outlives_its_absence(
    token: Token, tiny_run: Path, tiny_bundle: Path, tmp_path: Path, mnet: Mnet
) -> None:
    """A served fleet: from a PEM to the token, the PEM retired, the token away for a while, and back."""
    samples = tmp_path / "samples"
    lines = [f"{number},{number + 1},{number + 2}" for number in range(1, 250)]
    samples.write_text("\n".join(lines * 10))  # more than are uploaded, five a second, while the test runs
    state, phone_state = tmp_path / "server", tmp_path / "phone"
    state_and_uri = ("--state", state, "--signing-key", token.uri("one"))
    with (
        ServerProcess(tiny_run, tiny_bundle, state) as server,
        PhoneProcess(server, tiny_bundle, phone_state, samples=str(samples), period_s=0.2) as phone,
        httpx.Client(base_url=f"{server.url}/v1", timeout=30) as http,
    ):

        def runs_by(kid: str) -> None:
            eventually(lambda: signer((phone_state / "current.jws").read_text()), kid.__eq__, WITHIN_S)

        phone.next_event("swapped")
        runs_by(str(Keyring.load(state / "keys").signing.kid))
        assert mnet("keys", "rotate", *state_and_uri)[0] == 0
        server.process.send_signal(signal.SIGHUP)
        kid = TokenKey(token.uri("one")).kid
        runs_by(kid)
        eventually(lambda: mnet("keys", "retire", "--state", state)[0], (0).__eq__, WITHIN_S)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(http.get("/keys").json()["statements"]), (1).__eq__, WITHIN_S)
        assert signer(http.get("/keys").json()["statements"][0]) == kid

        def generation() -> str:
            return str(http.get("/healthz").json()["generation"])

        with token.away():
            eventually(generation, "failing".__eq__, WITHIN_S)
            answer = http.get("/keys")
            assert (answer.status_code, answer.json()["detail"]) == (503, "the signing key is not available")
        eventually(generation, "ok".__eq__, WITHIN_S)
        before = len(phone.events)
        eventually(
            lambda: [each["event"] for each in phone.events[before:]].count("swapped"), (2).__le__, WITHIN_S
        )
        runs_by(kid)
        assert {"refused", "failed"}.isdisjoint(each["event"] for each in phone.events)
        seen = Path(f"/proc/{server.process.pid}/cmdline").read_bytes() + (state / "server.log").read_bytes()
        kept = b"".join(path.read_bytes() for path in (state / "keys").iterdir())
        assert SECRET.encode() not in seen + kept
        assert os.environ.get(PIN) is None
