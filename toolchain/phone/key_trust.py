"""Which keys a phone believes: those that a key which it knows, or a root, has vouched for."""

from dataclasses import replace

from mnet.toolchain.contract.keys import KeyStatement, Roots, believed_statement
from mnet.toolchain.phone.client import CloudClient, Offline
from mnet.toolchain.phone.identity import Identity

# Of a phone that has heard no statement which its roots vouch for.
_UNVOUCHED = -1


def as_enrolled(phone: Identity, roots: Roots | None) -> Identity:
    """A new phone; where its app brings `roots`, what the server says of such counts for nothing."""
    return phone if roots is None else replace(phone, roots=None)


def under_roots(phone: Identity, roots: Roots | None) -> Identity:
    """The phone itself, or one that has yet to hear which keys its app's `roots` vouch for, if these are others."""
    if roots is None or phone.roots == roots:
        return phone
    return replace(phone, roots=roots, number=_UNVOUCHED, epoch=_UNVOUCHED)


def newer_statement(client: CloudClient, phone: Identity, now: int) -> KeyStatement | None:
    """The server's keys if they are newer than the phone's and it may believe them.

    Raises Offline or Denied; Offline also where the app's roots vouch for no keys, so that there is nothing to believe.
    """
    statement = believed_statement(client.key_statements(phone), phone.keys, phone.roots, now)
    if statement is None and phone.number == _UNVOUCHED:
        raise Offline("no root key of this app vouches for the server's keys")
    if statement is None:
        return None
    # Without roots there is no other epoch: whoever has a signing key could open one.
    epoch = phone.epoch if phone.roots is None else statement.epoch
    newer = (epoch, statement.number) > (phone.epoch, phone.number)
    return replace(statement, epoch=epoch) if newer else None


def trusting(phone: Identity, statement: KeyStatement) -> Identity:
    """The phone that believes these keys only; of an earlier epoch it believes none, not even for what it kept."""
    known = [*phone.keys["keys"], *phone.retired["keys"]]
    retired = [key for key in known if key not in statement.keys["keys"]]
    return replace(
        phone,
        keys=statement.keys,
        number=statement.number,
        epoch=statement.epoch,
        retired={"keys": retired if statement.epoch == phone.epoch else []},
    )
