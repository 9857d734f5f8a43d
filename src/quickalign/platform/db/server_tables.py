"""The tables by which servers that share a database know of each other: who leads, and what has changed."""

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quickalign.platform.db.tables import BIG, Base


class LeadershipRow(Base):
    """The one row that says who moves jobs and services along.

    `database` is this database's own name for itself, `home` the home of the servers that use it. `holder` describes
    the server that leads, `expires_at` is when others may take its place, by the database's clock. `fence` counts
    those who have led: what one of them writes is refused as soon as it is higher.
    """

    __tablename__ = "leadership"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    database: Mapped[str] = mapped_column(String(40))
    home: Mapped[str | None] = mapped_column(String(40))
    holder: Mapped[str | None] = mapped_column(Text)
    fence: Mapped[int] = mapped_column(BIG, default=0)
    expires_at: Mapped[float]


class ChangeRow(Base):
    """A topic, and how often something that belongs to it has changed."""

    __tablename__ = "changes"

    topic: Mapped[str] = mapped_column(String(20), primary_key=True)
    number: Mapped[int] = mapped_column(BIG, default=0)
