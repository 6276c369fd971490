"""Aliases: which versions of a model answer to a name, in which shares, and which one shadows them."""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Alias, ModelVersion
from app.errors import Invalid, NotFound, Problem, pointer
from app.schemas import AliasIn
from app.services.models import versions as models
from app.services.models.versions import PRODUCTION
from app.services.paging import Paging

NUMBER = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
TOLERANCE = 1e-6  # by which shares may miss 1
LOOKS = 3


@dataclass(frozen=True)
class Pointing:
    """What an alias shall name: versions with their shares, the shadow, and where each was said."""

    shares: dict[int, float]
    shadow: int | None
    places: dict[int, str]

    @classmethod
    def at(cls, request: AliasIn) -> "Pointing":
        """Check a request; raises `Invalid`."""
        if request.version is not None and request.versions is None:
            shares, places = {request.version: 1.0}, {request.version: "/version"}
        elif request.versions is not None and request.version is None:
            shares = _shares(request.versions)
            places = {number: pointer("versions", number) for number in shares}
        else:
            raise _invalid("/version", "name one version, or several in `versions`")
        if request.shadow is None:
            return cls(shares, None, places)
        if request.shadow in shares:
            raise _invalid("/shadow", "this version answers already")
        return cls(shares, request.shadow, {**places, request.shadow: "/shadow"})


def _shares(versions: dict[str, float]) -> dict[int, float]:
    for number in versions:
        if not NUMBER.fullmatch(number) or int(number) >= 2**31:
            raise _invalid(pointer("versions", number), "not the number of a version")
    if abs(math.fsum(versions.values()) - 1) > TOLERANCE:
        raise _invalid("/versions", "the shares do not add up to 1")
    return {int(number): share for number, share in versions.items()}


def _invalid(place: str, detail: str) -> Invalid:
    return Invalid(f"{place}: {detail}", [Problem(place, detail)])


@dataclass(frozen=True)
class Targets:
    """What a name stands for: the versions that answer, each with its share of the calls, and the shadow."""

    answering: list[tuple[ModelVersion, float]]
    shadow: ModelVersion | None


def find(session: Session, name: str, paging: Paging) -> list[Alias]:
    """A model's aliases in order of their names, at most one more than the page holds."""
    models.get(session, name)
    query = select(Alias).where(Alias.model == name, Alias.alias > (paging.after or ""))
    return list(session.scalars(query.order_by(Alias.alias).limit(paging.limit + 1)))


def get(session: Session, name: str, alias: str) -> Alias:
    """One alias as it stands now; raises `NotFound` for an unknown model or alias."""
    found = session.get(Alias, (name, alias), populate_existing=True)
    if found is None:
        models.get(session, name)
        raise NotFound(f"The model {name} has no alias {alias}")
    return found


def targets(session: Session, name: str, number: int | None, alias: str | None) -> Targets:
    """All that a prediction means by a number, by an alias, or by `production`."""
    if number is not None:
        return Targets([(models.version(session, name, number), 1.0)], None)
    for _ in range(LOOKS):
        pointed = get(session, name, alias or PRODUCTION)
        found = _versions(session, name, pointed.named)
        if pointed.named <= found.keys():  # else it moved, and a version went, between the two queries
            answering = [(found[int(number)], share) for number, share in pointed.versions.items()]
            return Targets(answering, found.get(pointed.shadow or 0))
    raise NotFound(f"The model {name} has lost a version that its alias {alias or PRODUCTION} names")


def artifacts(session: Session, name: str, pointing: Pointing) -> list[str]:
    """Where the files of the named versions are, as far as these exist."""
    found = _versions(session, name, pointing.places.keys())
    return [found[number].artifact for number in pointing.places if number in found]


def _versions(
    session: Session, name: str, numbers: Collection[int], *, lock: bool = False
) -> dict[int, ModelVersion]:
    query = select(ModelVersion).where(ModelVersion.model == name, ModelVersion.version.in_(numbers))
    if lock:
        query = query.order_by(ModelVersion.version).with_for_update(read=True)
    return {row.version: row for row in session.scalars(query)}


def move(session: Session, name: str, alias: str, pointing: Pointing) -> Alias:
    """Have other versions answer an alias, making it if need be; raises `NotFound` with pointers."""
    # Moves of a model take turns, and no version is deleted between the look and the move.
    session.refresh(models.get(session, name), with_for_update={"key_share": True})
    found = _versions(session, name, pointing.places.keys(), lock=True)
    missing = [number for number in pointing.places if number not in found]
    if missing:
        problems = [Problem(pointing.places[number], f"there is no version {number}") for number in missing]
        raise NotFound(f"The model {name} has no version {', '.join(map(str, missing))}", problems)
    row = session.get(Alias, (name, alias))
    if row is None:
        row = Alias(model=name, alias=alias)
        session.add(row)
    shares = dict(sorted(pointing.shares.items()))
    row.version = max(shares, key=lambda number: shares[number])
    row.split = {str(number): share for number, share in shares.items()} if len(shares) > 1 else None
    row.shadow = pointing.shadow
    session.flush()
    session.execute(
        update(Alias).where(Alias.model == name, Alias.alias == alias).values(updated_at=db_now())
    )
    session.refresh(row)
    return row


def remove(session: Session, name: str, alias: str) -> None:
    """Delete an alias; raises `NotFound` when there is none."""
    models.get(session, name)
    gone = session.execute(
        delete(Alias).where(Alias.model == name, Alias.alias == alias).returning(Alias.alias)
    ).scalar()
    if gone is None:
        raise NotFound(f"The model {name} has no alias {alias}")
