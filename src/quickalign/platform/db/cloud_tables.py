"""Tables behind the dialects of a cloud: access keys, stored objects, registered models."""

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from quickalign.platform.db.tables import BIG, Base, Json


class AccessKeyRow(Base):
    """An access key's id; its secret is derived from the home's key and stored nowhere."""

    __tablename__ = "access_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[float]
    revoked_at: Mapped[float | None]


class ObjectRow(Base):
    """An object of a bucket; `file` is the stored file with its bytes, null for one of no bytes."""

    __tablename__ = "objects"

    bucket: Mapped[str] = mapped_column(String(63), primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    file: Mapped[str | None] = mapped_column(String(40), index=True)
    bytes: Mapped[int] = mapped_column(BIG)
    etag: Mapped[str] = mapped_column(String(80))
    content_type: Mapped[str] = mapped_column(String(255))
    modified_at: Mapped[float]


class ModelRow(Base):
    """A registered model: a name for versions. `details` is what its maker said of it."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    details: Mapped[Json]
    created_at: Mapped[float]
    updated_at: Mapped[float]


class ModelVersionRow(Base):
    """A version of a registered model and where its weights are."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model", "name"),)

    model: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    uri: Mapped[str] = mapped_column(Text)
    details: Mapped[Json]
    created_at: Mapped[float]
    updated_at: Mapped[float]
