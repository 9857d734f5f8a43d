"""Registered models: names with versions, each an address of weights and what its maker said of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, NotFoundError, OptionError
from quickalign.platform import ids
from quickalign.platform.db.cloud_tables import ModelRow, ModelVersionRow
from quickalign.platform.db.engine import Database

_MAX_NAME = 200
_MAX_VERSION = 100
_MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version; `number` counts a model's versions from 1."""

    model: str
    number: int
    name: str
    uri: str
    details: Mapping[str, Any]
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered model with its newest version, if it has any."""

    id: str
    name: str
    details: Mapping[str, Any]
    created_at: float
    updated_at: float
    latest: RegisteredVersion | None


class Registry:
    """The registered models of this home."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def create(self, name: str, details: Mapping[str, Any]) -> Registered:
        """Register a name.

        Raises:
            OptionError: the name cannot be. ConflictError: it is registered.
        """
        _check_name("model name", name, _MAX_NAME)
        now = self._clock()
        row = ModelRow(id=ids.new("model"), name=name, details=dict(details), created_at=now, updated_at=now)
        try:
            with self._database.write() as session:
                session.add(row)
        except IntegrityError:
            raise ConflictError(
                f"The model {name!r} is registered already.", "Add a version to it.", field="name", value=name
            ) from None
        return _model(row, None)

    def get(self, model: str) -> Registered:
        """One model by its id.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            row = _row(session, model)
            return _model(row, _latest(session, row.id))

    def list(
        self, *, name: str | None = None, text: str | None = None, offset: int = 0, limit: int = 100
    ) -> tuple[tuple[Registered, ...], int]:
        """A page of models, newest first, and how many there are in all.

        Args:
            name: only the one of exactly this name.
            text: only those whose names contain it.
        """
        query = select(ModelRow)
        if name is not None:
            query = query.where(ModelRow.name == name)
        if text:
            query = query.where(ModelRow.name.icontains(text, autoescape=True))
        with self._database.read() as session:
            total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
            page = query.order_by(ModelRow.created_at.desc(), ModelRow.id).offset(offset).limit(min(limit, _MAX_PAGE))
            found = tuple(_model(row, _latest(session, row.id)) for row in session.scalars(page))
        return found, total

    def delete(self, model: str) -> None:
        """Delete a model with its versions; the weights stay where they are.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.write() as session:
            row = _row(session, model)
            session.execute(delete(ModelVersionRow).where(ModelVersionRow.model == row.id))
            session.delete(row)

    def add_version(
        self, model: str, uri: str, details: Mapping[str, Any], name: str | None = None
    ) -> RegisteredVersion:
        """Add a version; without a `name` it is called `0.<number>.0`.

        Raises:
            NotFoundError: there is no such model. ConflictError: the name is taken. OptionError: it cannot be.
        """
        if name is not None:
            _check_name("version name", name, _MAX_VERSION)
        now = self._clock()
        try:
            with self._database.write() as session:
                parent = _row(session, model)
                newest = _latest(session, parent.id)
                number = newest.number + 1 if newest else 1
                row = ModelVersionRow(
                    model=parent.id,
                    number=number,
                    name=name or f"0.{number}.0",
                    uri=uri,
                    details=dict(details),
                    created_at=now,
                    updated_at=now,
                )
                session.add(row)
                parent.updated_at = now
        except IntegrityError:
            raise ConflictError(
                f"The model has a version {name!r} already.", "Give it another name.", field="version", value=name
            ) from None
        return _version(row)

    def version(self, model: str, name: str) -> RegisteredVersion:
        """One version by its name.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            return _version(_version_row(session, model, name))

    def versions(
        self, model: str, *, name: str | None = None, offset: int = 0, limit: int = 100
    ) -> tuple[tuple[RegisteredVersion, ...], int]:
        """A page of versions, newest first, and how many there are in all."""
        with self._database.read() as session:
            query = select(ModelVersionRow).where(ModelVersionRow.model == _row(session, model).id)
            if name is not None:
                query = query.where(ModelVersionRow.name == name)
            total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
            page = query.order_by(ModelVersionRow.number.desc()).offset(offset).limit(min(limit, _MAX_PAGE))
            return tuple(map(_version, session.scalars(page))), total

    def update_version(self, model: str, name: str, details: Mapping[str, Any]) -> None:
        """Change what is said of a version; what is left out stays.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.write() as session:
            row = _version_row(session, model, name)
            row.details = {**row.details, **details}
            row.updated_at = self._clock()

    def delete_version(self, model: str, name: str) -> None:
        """Delete a version; the weights stay where they are.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.write() as session:
            session.delete(_version_row(session, model, name))


def _check_name(what: str, name: str, most: int) -> None:
    if not name.strip() or len(name) > most or not name.isprintable():
        raise OptionError(
            f"{name[:40]!r} cannot be a {what}.", f"Use 1 to {most} printable characters.", field="name", value=name
        )


def _row(session: Session, model: str) -> ModelRow:
    row = session.get(ModelRow, model)
    if row is None:
        raise NotFoundError(f"There is no registered model {model[:100]!r}.", field="model_id", value=model)
    return row


def _version_row(session: Session, model: str, name: str) -> ModelVersionRow:
    parent = _row(session, model)
    query = select(ModelVersionRow).where(ModelVersionRow.model == parent.id, ModelVersionRow.name == name)
    row = session.scalar(query)
    if row is None:
        raise NotFoundError(f"The model has no version {name[:100]!r}.", field="version_name", value=name)
    return row


def _latest(session: Session, model: str) -> RegisteredVersion | None:
    query = select(ModelVersionRow).where(ModelVersionRow.model == model).order_by(ModelVersionRow.number.desc())
    row = session.scalars(query.limit(1)).first()
    return None if row is None else _version(row)


def _model(row: ModelRow, latest: RegisteredVersion | None) -> Registered:
    return Registered(row.id, row.name, row.details, row.created_at, row.updated_at, latest)


def _version(row: ModelVersionRow) -> RegisteredVersion:
    return RegisteredVersion(row.model, row.number, row.name, row.uri, row.details, row.created_at, row.updated_at)
