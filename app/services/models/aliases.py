"""Aliases: which versions of a model answer under a name, in which shares, and which one shadows them."""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.projects import own_project
from app.database.tables import Alias, ModelVersion
from app.errors import Invalid, NotFound, Problem, pointer
from app.infrastructure.events.webhook_events import EventType, enqueue
from app.schemas import AliasIn, GuardIn
from app.services.models import guard as guards
from app.services.models import versions
from app.services.models.versions import PRODUCTION
from app.services.paging import Paging

VERSION_NUMBER = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
SHARE_TOLERANCE = 1e-6  # by which the sum of shares may differ from 1
MAX_READS = 3  # of an alias that moves while it is resolved


@dataclass(frozen=True)
class AliasTarget:
    """What an alias shall name: versions with their shares, and the shadow.

    `pointers` holds for each version the JSON pointer to it in the request.
    """

    shares: dict[int, float]
    shadow: int | None
    pointers: dict[int, str]

    @classmethod
    def from_request(cls, request: AliasIn) -> "AliasTarget":
        """Check a request; raises `Invalid`."""
        if request.version is not None and request.versions is None:
            shares, pointers = {request.version: 1.0}, {request.version: "/version"}
        elif request.versions is not None and request.version is None:
            shares = _parse_shares(request.versions)
            pointers = {number: pointer("versions", number) for number in shares}
        else:
            raise _invalid("/version", "name one version, or several in `versions`")
        if request.shadow is None:
            return cls(shares, None, pointers)
        if request.shadow in shares:
            raise _invalid("/shadow", "this version answers already")
        return cls(shares, request.shadow, {**pointers, request.shadow: "/shadow"})


def _parse_shares(shares: dict[str, float]) -> dict[int, float]:
    for number in shares:
        if not VERSION_NUMBER.fullmatch(number) or int(number) >= 2**31:
            raise _invalid(pointer("versions", number), "not the number of a version")
    if abs(math.fsum(shares.values()) - 1) > SHARE_TOLERANCE:
        raise _invalid("/versions", "the shares do not add up to 1")
    return {int(number): share for number, share in shares.items()}


def _invalid(path: str, detail: str) -> Invalid:
    return Invalid(f"{path}: {detail}", [Problem(path, detail)])


@dataclass(frozen=True)
class ResolvedAlias:
    """The versions that answer, each with its share of the calls, and the shadow."""

    answering: list[tuple[ModelVersion, float]]
    shadow: ModelVersion | None


def list_page(session: Session, name: str, paging: Paging) -> list[Alias]:
    """Return the page's aliases of a model by name, and one more if there are more; raises `NotFound`."""
    versions.get_model(session, name)
    query = select(Alias).where(Alias.model == name, Alias.alias > (paging.after or ""))
    return list(session.scalars(query.order_by(Alias.alias).limit(paging.limit + 1)))


def get(session: Session, name: str, alias: str) -> Alias:
    """Return an alias, read anew; raises `NotFound` for an unknown model or alias."""
    row = session.get(Alias, (own_project(session), name, alias), populate_existing=True)
    if row is None:
        versions.get_model(session, name)
        raise versions.missing_alias(session, name, alias)
    return row


def resolve(session: Session, name: str, number: int | None, alias: str | None) -> ResolvedAlias:
    """Return the versions behind a number, else behind an alias, by default `production`.

    Raises `NotFound`.
    """
    if number is not None:
        return ResolvedAlias([(versions.get_version(session, name, number), 1.0)], None)
    for _ in range(MAX_READS):
        row = get(session, name, alias or PRODUCTION)
        rows = _load_versions(session, name, row.referenced_versions)
        # If one is missing, the alias moved and a version was deleted between the two queries.
        if row.referenced_versions <= rows.keys():
            answering = [(rows[int(number)], share) for number, share in row.versions.items()]
            return ResolvedAlias(answering, rows.get(row.shadow or 0))
    raise NotFound(f"The model {name} has lost a version that its alias {alias or PRODUCTION} names")


def artifacts(session: Session, name: str, target: AliasTarget) -> list[str]:
    """Return the references of a target's artifacts, for predictors, as far as the versions exist."""
    rows = _load_versions(session, name, target.pointers.keys())
    return [versions.reference(rows[number]) for number in target.pointers if number in rows]


def _load_versions(
    session: Session, name: str, numbers: Collection[int], *, lock: bool = False
) -> dict[int, ModelVersion]:
    query = select(ModelVersion).where(ModelVersion.model == name, ModelVersion.version.in_(numbers))
    if lock:
        query = query.order_by(ModelVersion.version).with_for_update(read=True)
    return {row.version: row for row in session.scalars(query)}


def move(session: Session, name: str, alias: str, target: AliasTarget, guard: GuardIn | None = None) -> Alias:
    """Point an alias at its target, creating it if it does not exist; return its row.

    Raises `NotFound`, with a pointer to each version that does not exist, and what the guard raises.
    """
    # Moves of a model take turns, and no version is deleted between the check and the move.
    session.refresh(versions.get_model(session, name), with_for_update={"key_share": True})
    rows = _load_versions(session, name, target.pointers.keys(), lock=True)
    missing = [number for number in target.pointers if number not in rows]
    if missing:
        problems = [Problem(target.pointers[number], f"there is no version {number}") for number in missing]
        raise NotFound(f"The model {name} has no version {', '.join(map(str, missing))}", problems)
    row = session.get(Alias, (own_project(session), name, alias), populate_existing=True)
    if guard is not None:
        present = {} if row is None else {int(number): share for number, share in row.versions.items()}
        guards.check(session, name, guard, target.shares, present)
    if row is None:
        row = Alias(model=name, alias=alias)
        session.add(row)
    shares = dict(sorted(target.shares.items()))
    row.version = max(shares, key=lambda number: shares[number])
    row.split = {str(number): share for number, share in shares.items()} if len(shares) > 1 else None
    row.shadow = target.shadow
    session.flush()
    session.execute(
        update(Alias).where(Alias.model == name, Alias.alias == alias).values(updated_at=db_now())
    )
    session.refresh(row)
    moved = {"model": name, "alias": alias, "versions": row.versions, "shadow": row.shadow}
    enqueue(session, row.project, EventType.ALIAS_MOVED, moved)
    return row


def remove(session: Session, name: str, alias: str) -> None:
    """Delete an alias; raises `NotFound`."""
    versions.get_model(session, name)
    deleted = session.execute(
        delete(Alias).where(Alias.model == name, Alias.alias == alias).returning(Alias.alias)
    ).scalar()
    if deleted is None:
        raise NotFound(f"The model {name} has no alias {alias}")
