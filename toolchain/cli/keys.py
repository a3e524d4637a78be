"""`mnet keys`: the keys of a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mnet.toolchain.contract.jws import SigningKey

PANEL = "Serve"

command = typer.Typer(
    help="Create, list, rotate and retire the keys of a server, which reloads them at SIGHUP.",
    no_args_is_help=True,
)

Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--root", help="A root key (PEM, or a file with the PKCS#11 URI of one on a token); repeatable."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--signing-key",
        help="PKCS#11 URI of a P-256 key pair on a token: `pkcs11:token=LABEL;object=LABEL?module-path=FILE`, and "
        "`&pin-source=file:FILE`, without which the PIN is in MNET_PKCS11_PIN. Without this, a PEM is created.",
    ),
]
State = Annotated[Path, typer.Option(help="The state folder of the server.")]


@command.command()
def create(state: State, signing_key: Token = None) -> None:
    """Create the keys that are missing: signing, enrolment and operator key, shared by all replicas.

    The signing key may lie in an HSM: `--signing-key` names a key pair that its own tool generated.

    Example: `mnet keys create --state server`
    """
    from mnet.toolchain.cloud.state import ServerState

    ServerState.open(state, signing_key=signing_key)
    _show(state)


@command.command(name="list")
def list_(state: State) -> None:
    """List the signing keys by name.

    Example: `mnet keys list --state server`
    """
    _show(state)


@command.command()
def rotate(
    state: State,
    root: Roots = None,
    stolen: Annotated[
        bool, typer.Option(help="Declare the keys before stolen: phones drop all that they signed.")
    ] = False,
    signing_key: Token = None,
) -> None:
    """Sign by a new key. The previous one vouches for it, so that phones accept it.

    The new one is a PEM or, with `--signing-key`, one that lies on a token.

    Example: `mnet keys rotate --state server`
    """
    from mnet.toolchain.cloud.signing_keys import rotate
    from mnet.toolchain.cloud.state import ServerState

    rotate(ServerState(state).keys, _roots(root), stolen=stolen, uri=signing_key)
    _show(state)


@command.command()
def retire(
    state: State,
    root: Roots = None,
    database: Annotated[
        str | None,
        typer.Option(help="URL of the server's database; the one in its state folder unless given."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Retire them though phones are lost by it.")] = False,
) -> None:
    """Delete the previous signing keys, once every phone has learnt the new one.

    Example: `mnet keys retire --state server`
    """
    from mnet.toolchain.cloud.database import Database
    from mnet.toolchain.cloud.facts import trusted_key
    from mnet.toolchain.cloud.registry import Registry
    from mnet.toolchain.cloud.signing_keys import Keyring, retire
    from mnet.toolchain.cloud.state import ServerState
    from mnet.toolchain.errors import UserError

    server = ServerState(state)
    opened = Database(database or server.database_url())
    try:
        keyring = Keyring.load(server.keys)
        trusted_key(opened, keyring)
        behind, known = Registry(opened).behind(keyring.stated.number)
    finally:
        opened.close()
    lost = f"{behind} of {known} phones have not learnt the new key and would refuse all releases"
    if behind and not force:
        raise UserError(
            f"{lost}: wait until they have polled, `mnet forget` those that are gone, or lose all by --force"
        )
    if behind:
        typer.echo(lost)
    for kid in retire(server.keys, _roots(root)):
        typer.echo(f"retired   {kid}")
    _show(state)


@command.command(name="root")
def root_(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File of the new root key (PEM); keep it offline.")
    ],
) -> None:
    """Create a root key, which vouches for signing keys and signs nothing else.

    Example: `mnet keys root --out usb/root.pem`
    """
    from mnet.toolchain.cloud.signing_keys import create_signing_key
    from mnet.toolchain.errors import UserError

    if out.exists():
        raise UserError(f"{out} exists: a root key is never replaced")
    typer.echo(f"root      {create_signing_key(out).kid}")


@command.command()
def issuer(
    state: State,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="File of the new private key (PEM), for the back end of your app alone."
        ),
    ],
) -> None:
    """Have devices enrol by permission of your app's own back end, which it signs with a new key.

    From then on the enrolment key enrols nobody: a permission is a JWT (ES256) with `jti`, `iat`, `exp`, and maybe
    `cohort`, for one device each.

    Example: `mnet keys issuer --state server --out backend.pem`
    """
    from mnet.toolchain.cloud.signing_keys import add_issuer, create_signing_key
    from mnet.toolchain.cloud.state import ServerState
    from mnet.toolchain.errors import UserError

    if out.exists():
        raise UserError(f"{out} exists: a key is never replaced")
    key = create_signing_key(out)
    add_issuer(ServerState(state).keys, key)
    typer.echo(f"issuer    {key.kid}")


@command.command()
def pin(
    state: State,
    root: Roots = None,
    threshold: Annotated[
        int, typer.Option(min=1, help="How many of them must vouch for a change of keys.")
    ] = 1,
) -> None:
    """Have phones that enrol from now on believe these root keys alone when signing keys change.

    It writes `roots.json` next to the keys: an app that ships it takes nothing that these roots do not vouch for.

    Example: `mnet keys pin --state server --root usb/root.pem`
    """
    from mnet.toolchain.cloud.signing_keys import ROOTS, pin_roots
    from mnet.toolchain.cloud.state import ServerState

    server = ServerState(state)
    pin_roots(server.keys, _roots(root), threshold)
    _show(state)
    typer.echo(f"ship      {server.keys / ROOTS}")


def _roots(files: list[Path] | None) -> "list[SigningKey]":
    from mnet.toolchain.cloud.signing_keys import load_signing_key

    return [load_signing_key(file) for file in files or ()]


def _show(state: Path) -> None:
    from mnet.toolchain.cloud.signing_keys import Keyring
    from mnet.toolchain.cloud.state import ServerState
    from mnet.toolchain.cloud.token_keys import TokenKey

    keyring = Keyring.load(ServerState(state).keys)
    for name, key in (("signing ", keyring.signing), *(("vouching", key) for key in keyring.retiring)):
        token = f"  on token {key.uri.label}" if isinstance(key, TokenKey) else ""
        typer.echo(f"{name}  {key.kid}{token}")
    if keyring.stated.roots is not None:
        for root in keyring.stated.roots.keys["keys"]:
            typer.echo(f"root      {root['kid']}")
