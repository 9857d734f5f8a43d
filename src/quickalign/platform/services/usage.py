"""What services use of jobs, so that no job is deleted whose folder is served."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError
from quickalign.core.wire.services import ServiceState
from quickalign.platform.db.service_tables import RevisionRow, ServiceRow
from quickalign.platform.home import Home
from quickalign.platform.lock import Mutex


class Usage:
    """Who serves what.

    `lock` is held while a revision is made and while a job is deleted: neither may happen in the midst of the other,
    whichever of the home's servers does it.
    """

    def __init__(self, home: Home) -> None:
        self.lock = Mutex(home.lock_of("usage"))

    def check_unused(self, session: Session, job_id: str) -> None:
        """Refuse to lose a job's folder that a service serves, or can be rolled back to.

        Raises:
            ConflictError: it names the service.
        """
        query = select(ServiceRow.name).join(RevisionRow, RevisionRow.service == ServiceRow.number)
        used = query.where(RevisionRow.job == job_id, RevisionRow.state != "failed")
        name = session.scalar(used.where(ServiceRow.state != ServiceState.DELETED).limit(1))
        if name is not None:
            raise ConflictError(
                f"The job {job_id} is served by the service {name!r}.",
                f"Delete the service first: quickalign services delete {name}.",
                field="job_id",
                value=job_id,
            )
