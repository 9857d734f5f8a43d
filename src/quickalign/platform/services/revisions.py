"""Revisions of a service: making one, and saying which is wanted."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quickalign.core.errors import OptionError, QuickalignError
from quickalign.core.wire.services import RevisionSpec, ServiceState
from quickalign.platform.config import Config
from quickalign.platform.db.service_tables import RevisionRow, ServiceRow
from quickalign.platform.queue.admission import Shared
from quickalign.platform.services import moves
from quickalign.platform.services.sources import Frozen
from quickalign.serve.engines.registry import resolve_engine

S = ServiceState


def new(
    number: int, spec: RevisionSpec, source: Frozen, memory_bytes: int, shared: Shared | None, now: float
) -> RevisionRow:
    """The row of a revision that has not started; its service is set by the caller."""
    return RevisionRow(
        number=number,
        spec=spec.model_dump(mode="json"),
        source=source.model_dump(mode="json"),
        job=source.job,
        state="starting",
        proven=False,
        memory_bytes=memory_bytes,
        shared_key=shared.key if shared else None,
        shared_base=shared.base if shared else None,
        shared_bytes=shared.memory_bytes if shared else None,
        created_at=now,
    )


def check_engine(spec: RevisionSpec) -> None:
    """Refuse an engine that is not to be had here.

    Raises:
        OptionError: with the engines that there are.
    """
    try:
        resolve_engine(spec.engine)
    except QuickalignError as error:
        error.field, error.value = "spec.engine", spec.engine
        raise


def check_scaling(spec: RevisionSpec, *, on_cluster: bool) -> None:
    """Refuse autoscaling where services run on this machine alone.

    Raises:
        OptionError: with what can be done instead.
    """
    if spec.autoscaling is not None and not on_cluster:
        raise OptionError(
            "autoscaling is not possible: services run on this machine, and not on a cluster.",
            "Set replicas to a number, or let the operator set executor = 'ray' in config.toml.",
            field="spec.autoscaling",
            value=spec.autoscaling.model_dump(),
        )


def get(session: Session, row: ServiceRow, number: int) -> RevisionRow:
    """One revision of a service, which is known to be there."""
    found = session.get(RevisionRow, (row.number, number))
    assert found is not None
    return found


def last(session: Session, row: ServiceRow) -> int:
    """The number of the newest revision."""
    query = select(func.max(RevisionRow.number)).where(RevisionRow.service == row.number)
    return session.scalar(query) or 0


def before(session: Session, row: ServiceRow) -> int | None:
    """The revision to roll back to: what answers while another is wanted, else the one that answered before it."""
    if row.revision is not None and row.target != row.revision:
        return row.revision
    earlier = (RevisionRow.service == row.number, RevisionRow.number < row.target)
    retired = select(RevisionRow.number).where(*earlier, RevisionRow.state == "retired", RevisionRow.proven)
    return session.scalar(retired.order_by(RevisionRow.number.desc()).limit(1))


def try_again(session: Session, row: ServiceRow) -> None:
    """Forget that the wanted revision failed, because somebody asks for another try."""
    target = get(session, row, row.target)
    if target.state == "failed":
        target.state, target.reason = "starting", None


def aim(session: Session, row: ServiceRow, number: int, config: Config, now: float, message: str) -> None:
    """Want the revision `number`: beside the one that answers, or at once where none does."""
    superseded = get(session, row, row.target)
    if row.target not in (row.revision, number) and superseded.state == "starting":
        superseded.state = "retired"
    wanted = get(session, row, number)
    back = number == row.revision
    if not back:
        wanted.state, wanted.reason = "starting", None
    told = f"{message} Revision {number} is wanted."
    state = S(row.state)
    if back and state is S.UPDATING:
        moves.move(session, row, S.STARTING, config, now, message=told, target=number)
    elif not back and row.revision is not None and state in (S.RUNNING, S.STARTING):
        moves.move(session, row, S.UPDATING, config, now, message=told, target=number)
    elif state is S.FAILED:
        moves.move(session, row, S.PENDING, config, now, message=told, target=number)
    else:
        moves.change(row, now, target=number)
        moves.append(session, row, "notice", told, {"revision": number}, config, now)
