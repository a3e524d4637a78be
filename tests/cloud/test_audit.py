"""The audit log: whose deed it was, that nothing in it can be changed or deleted unseen, and how long it is kept."""

import time

import pytest
from sqlalchemy import delete, select, update

from mnet.toolchain.cloud.audit import KEPT_S, MACHINES, PEOPLE, Audit, prune
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.tables import AuditChain, AuditEntry


@pytest.fixture
def audit(database: Database) -> Audit:
    """A log of three deeds of people and two of the server, one after the other."""
    audit = Audit(database)
    audit.note("operator", "pushed", "ana", rollout=1, percent=12.5)
    audit.note("server", "reloaded", bundles=("b", "a"), keys=["k"])
    audit.note("operator", "stopped", "ben", rollout=1)
    audit.note("server", "readmitted", device="d")
    audit.note("device", "erased", device="d")
    return audit


def ids(database: Database, chain: str) -> list[int]:
    query = select(AuditEntry.id).where(AuditEntry.chain == chain).order_by(AuditEntry.id)
    with database.reading() as connection:
        return list(connection.scalars(query))


def test_each_entry_names_its_operator_and_fits_the_one_before(audit: Audit) -> None:
    entries = audit.newest(10)
    assert [entry["operator"] for entry in entries] == [None, None, "ben", None, "ana"]
    found = audit.check()
    assert (found.entries, found.faults) == (5, [])
    assert audit.check(list(found.heads.values())).faults == []


@pytest.mark.parametrize("change", [{"operator": "ben"}, {"detail": {"rollout": 2}}, {"at": 1.0}])
def test_a_changed_entry_is_found(audit: Audit, database: Database, change: dict[str, object]) -> None:
    first = ids(database, PEOPLE)[0]
    with database.writing() as connection:
        connection.execute(update(AuditEntry).where(AuditEntry.id == first).values(**change))
    assert audit.check().faults == [f"entry {first} was changed"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_deleted_entry_is_found(audit: Audit, database: Database, place: int) -> None:
    """The oldest, one amid others, and the newest."""
    with database.writing() as connection:
        connection.execute(delete(AuditEntry).where(AuditEntry.id == ids(database, PEOPLE)[place]))
    (fault,) = audit.check().faults
    assert "missing" in fault


def test_a_log_made_to_fit_again_lacks_what_was_noted(audit: Audit, database: Database) -> None:
    """Whoever deletes the newest entry and sets the head back leaves a log that fits, but for a note kept elsewhere."""
    noted = audit.check().heads
    with database.writing() as connection:
        last = ids(database, PEOPLE)[-1]
        previous = connection.scalar(select(AuditEntry.previous).where(AuditEntry.id == last))
        connection.execute(delete(AuditEntry).where(AuditEntry.id == last))
        connection.execute(update(AuditChain).where(AuditChain.name == PEOPLE).values(head=previous))
    assert audit.check().faults == []
    assert len(audit.check([noted[PEOPLE]]).faults) == 1


def test_old_entries_are_deleted_each_kind_after_its_time_and_the_rest_still_fits(
    audit: Audit, database: Database
) -> None:
    people = ids(database, PEOPLE)
    now = time.time()
    with database.writing() as connection:
        prune(connection, now + KEPT_S[MACHINES] - 60)
    assert audit.check().entries == 5, "nothing is over its time yet"
    with database.writing() as connection:
        prune(connection, now + KEPT_S[MACHINES] + 60)
    assert (ids(database, MACHINES), ids(database, PEOPLE)) == ([], people), (
        "an erasure is kept as what people did"
    )
    assert audit.check().faults == []
    audit.note("server", "reloaded")
    assert (audit.check().entries, audit.check().faults) == (4, [])
    with database.writing() as connection:
        prune(connection, now + KEPT_S[PEOPLE] + 60)
    assert (audit.check().entries, audit.check().faults) == (0, [])


def test_the_entries_of_an_older_server_are_chained_at_the_upgrade(database_url: str) -> None:
    old = Database(database_url, "0009")
    with old.writing() as connection:
        for number in range(3):
            connection.exec_driver_sql(
                "INSERT INTO audit (at, actor, action, detail) "
                f"VALUES ({number}.25, 'operator', 'pushed', '{{\"rollout\": {number}}}')"
            )
    old.close()
    database = Database(database_url)
    found = Audit(database).check()
    assert (found.entries, found.faults) == (3, [])
    with database.writing() as connection:
        connection.execute(update(AuditEntry).where(AuditEntry.at == 1.25).values(actor="device"))
    assert len(Audit(database).check().faults) == 1
    database.close()
