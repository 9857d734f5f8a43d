"""Pages of a list, newest first. Where the next one begins is a place, which stays when its row is deleted."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from quickalign.platform.db.tables import FileRow, JobRow


def following(row: JobRow | FileRow) -> str:
    """What to give as `after` for the page behind `row`."""
    return f"{row.id}:{row.number}"


def place(session: Session, after: str, find: Callable[[Session, str], JobRow | FileRow]) -> int:
    """The number behind which a page begins: that of `following`, or of the row with the id `after`."""
    identity, _, number = after.rpartition(":")
    if identity and number.isascii() and number.isdigit() and len(number) < 19:
        return int(number)
    return find(session, after).number
