"""Projects: every session belongs to one, and sees and changes nothing of others.

Each ORM statement of a session gets the condition that rows are of its project, also within joins,
subqueries, updates and deletions, and what is added is its own. A query that forgets projects is right.
Workers, maintenance and the dispatcher have sessions of all projects, and name the project of what they add.
"""

from sqlalchemy import String, event
from sqlalchemy.orm import (
    Mapped,
    ORMExecuteState,
    Session,
    UOWTransaction,
    mapped_column,
    with_loader_criteria,
)

DEFAULT_PROJECT = "default"  # of whatever was made without keys
ALL_PROJECTS = "*"  # of a session that sees every project
PROJECT = String(64)
INFO = "project"  # the key in `Session.info`


class Owned:
    """Mixin of tables whose rows belong to a project."""

    project: Mapped[str] = mapped_column(PROJECT, server_default=DEFAULT_PROJECT, sort_order=-1)


class OwnedByName(Owned):
    """Mixin of tables whose rows have names that are unique within their project."""

    project: Mapped[str] = mapped_column(
        PROJECT, primary_key=True, server_default=DEFAULT_PROJECT, sort_order=-1
    )


def session_project(session: Session) -> str:
    """The project of a session, or `ALL_PROJECTS`."""
    return str(session.info.get(INFO, DEFAULT_PROJECT))


def own_project(session: Session) -> str:
    """The project of a session, for what is named within one; raises `LookupError` if it sees all of them."""
    project = session_project(session)
    if project == ALL_PROJECTS:
        raise LookupError("names are unique within a project only: this session sees all projects")
    return project


def enter_project(session: Session, project: str) -> None:
    """Restrict a session that sees all projects to one, for what is named within it."""
    session.info[INFO] = project


@event.listens_for(Session, "do_orm_execute")
def _restrict(state: ORMExecuteState) -> None:
    project = session_project(state.session)
    if project != ALL_PROJECTS:
        restriction = with_loader_criteria(Owned, lambda cls: cls.project == project, include_aliases=True)
        state.statement = state.statement.options(restriction)


@event.listens_for(Session, "before_flush")
def _assign(session: Session, _: UOWTransaction, __: object) -> None:
    for row in session.new:
        if isinstance(row, Owned):
            if row.project is None:
                row.project = own_project(session)
            elif session_project(session) not in (row.project, ALL_PROJECTS):
                raise LookupError(f"a row of {row.project} was added by a session of another project")
