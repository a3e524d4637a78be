"""Which keys a phone believes: those that a key which it knows, or a root, has vouched for."""

from dataclasses import replace

from mnet.toolchain.contract.keys import KeyStatement, believed_statement
from mnet.toolchain.phone.client import CloudClient
from mnet.toolchain.phone.identity import Identity


def newer_statement(client: CloudClient, phone: Identity, now: int) -> KeyStatement | None:
    """The server's keys if they are newer than the phone's and it may believe them. Raises Offline or Denied."""
    statement = believed_statement(client.key_statements(phone), phone.keys, phone.roots, now)
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
