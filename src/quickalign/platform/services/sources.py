"""What a revision serves, resolved and frozen when it is made: which folders, with the hash of every file in them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from quickalign.core.checksums import sha256_of
from quickalign.core.errors import ConflictError, ModelError, NotFoundError, QuickalignError
from quickalign.core.wire.jobs import JobState
from quickalign.core.wire.services import Source
from quickalign.hub.cards import card_or_none, find_card
from quickalign.hub.folder import read_json, refuse_gguf
from quickalign.hub.loading import files_read
from quickalign.hub.source import resolve
from quickalign.platform.db.tables import JobRow
from quickalign.platform.home import Home
from quickalign.platform.inputs import Inputs
from quickalign.platform.models import trained_job, trained_name

_INSIDE = ("adapter", "model")
_MARKS = ("adapter_config.json", "quickalign.json", "config.json")
_SERVED = (".safetensors", ".json", ".jinja", ".model", ".txt")


class FrozenFile(BaseModel):
    """A file as it was; where size and time are the same, its content is taken to be."""

    model_config = ConfigDict(frozen=True)

    path: str
    sha256: str
    size: int
    modified: int


class Frozen(BaseModel):
    """What a replica is given, and what it must still be then.

    `model`, `model_revision` and `adapter` are the replica's arguments. The paths are None where the replica fetches
    the model by its name. `names` are further names of the model, such as OpenAI's `ft:` id.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: str
    model_revision: str | None = None
    adapter: str | None = None
    model_path: str | None = None
    adapter_path: str | None = None
    job: str | None = None
    names: tuple[str, ...] = ()
    files: tuple[FrozenFile, ...] = ()

    def holds_as(self, other: "Frozen") -> bool:
        """Whether the same files hold what they held in `other`."""
        return {file.path: file.sha256 for file in self.files} == {file.path: file.sha256 for file in other.files}

    def verify(self, what: str) -> None:
        """Check that the folders hold what they held when the revision was made.

        Raises:
            ModelError: one does not; `what` names the revision in the sentence.
        """
        for file in self.files:
            if not _is_as(file):
                raise ModelError(
                    f"{file.path} is not what it was when {what} was made.",
                    "Bring the file back, or update the service to what is there now.",
                )
        known = {file.path for file in self.files}
        for folder in filter(None, (self.model_path, self.adapter_path)):
            added = sorted({str(Path(folder) / name) for name in files_read(Path(folder))} - known)
            if added:
                raise ModelError(
                    f"{added[0]} was not there when {what} was made.",
                    "Take the file out of the folder, or update the service to what is there now.",
                )


class Sources:
    """Finds what a source names, by the operator's rules."""

    def __init__(self, home: Home, inputs: Inputs) -> None:
        self._home, self._inputs = home, inputs

    def freeze(self, session: Session, source: Source, known: Frozen | None = None) -> Frozen:
        """Resolve `source`, and hash what lies on this machine, but for the files that are as they were in `known`.

        Raises:
            NotFoundError: no such job. ConflictError: the job has not succeeded. ModelError: nothing to serve is there.
            AccessError: a folder that the server may not read.
        """
        hashes = _Hashes(known)
        try:
            return self._of_job(session, source, hashes) if source.job is not None else self._of_model(source, hashes)
        except QuickalignError as error:
            error.field = error.field or "spec.source"
            raise

    def _of_job(self, session: Session, source: Source, hashes: "_Hashes") -> Frozen:
        assert source.job is not None
        wanted = trained_job(source.job) or source.job
        row = session.scalar(select(JobRow).where(JobRow.id == wanted))
        if row is None or (source.job != row.id and source.job != trained_name(row.model, row.name, row.id)):
            raise NotFoundError(
                f"There is no job {source.job!r}.",
                "`quickalign jobs list` shows them all.",
                field="spec.source.job",
                value=source.job,
            )
        folder = _content(self._checkpoint(row, source.checkpoint) if source.checkpoint else _result(row))
        names = () if source.checkpoint else (trained_name(row.model, row.name, row.id),)
        return _frozen(folder, hashes, job=row.id, names=names)

    def _checkpoint(self, row: JobRow, step: int) -> Path:
        folder = self._home.output(row.id) / "checkpoints" / f"step-{step:08d}"
        if not folder.is_dir():
            raise NotFoundError(
                f"The job {row.id} has no checkpoint of step {step}.",
                "`quickalign jobs show` lists those it has.",
                field="spec.source.checkpoint",
                value=step,
            )
        return folder

    def _of_model(self, source: Source, hashes: "_Hashes") -> Frozen:
        adapter = self._folder("adapter", source.adapter) if source.adapter is not None else None
        if source.model is None:
            assert adapter is not None
            return _frozen(adapter, hashes, job=self._job_of(adapter))
        model = self._model(source.model, source.model_revision)
        if adapter is None and model is not None:
            return _frozen(model, hashes, job=self._job_of(model))
        files = (*(hashes.of_folder(model) if model else ()), *(hashes.of_folder(adapter) if adapter else ()))
        return Frozen(
            model=str(model) if model else source.model,
            model_revision=source.model_revision,
            adapter=str(adapter) if adapter else None,
            model_path=str(model) if model else None,
            adapter_path=str(adapter) if adapter else None,
            job=self._job_of(adapter) or self._job_of(model),
            files=files,
        )

    def _job_of(self, folder: Path | None) -> str | None:
        """The job in whose folder `folder` lies."""
        jobs = self._home.jobs.resolve()
        return folder.relative_to(jobs).parts[0] if folder is not None and jobs in folder.parents else None

    def _model(self, model: str, revision: str | None) -> Path | None:
        """The model's folder; None where the replica fetches it."""
        self._inputs.check_model(model)
        if model.startswith(("/", "~")):
            if revision is not None:
                raise ModelError(
                    f"{model} is a folder, so the revision {revision!r} has no meaning.", "Leave the revision out."
                )
            return self._folder("model", model)
        card = card_or_none(model) if "/" in model else find_card(model)
        return resolve(model, revision).path if card is not None and card.embedded else None

    def _folder(self, field: str, text: str) -> Path:
        return _content(self._inputs.contained(field, Path(text).expanduser(), text))


def base_of(folder: Path) -> str | None:
    """The base that an adapter's folder names; None where it is no adapter."""
    if not (folder / "adapter_config.json").is_file():
        return None
    if (folder / "quickalign.json").is_file():
        base: Any = read_json(folder / "quickalign.json").get("base") or {}
        return str(base.get("source") or "") or None
    return str(read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "") or None


def trained_precision(folder: Path) -> str | None:
    """What the training of the folder's weights computed in; None where it was not trained here."""
    file = folder / "quickalign.json"
    return str(read_json(file).get("precision") or "") or None if file.is_file() else None


def _result(row: JobRow) -> Path:
    if row.state != JobState.SUCCEEDED:
        raise ConflictError(
            f"The job {row.id} is {row.state}, so there is no model of it.",
            "Wait until it has succeeded, or name one of its checkpoints.",
            field="spec.source.job",
            value=row.id,
        )
    if row.model_path is None:
        raise ConflictError(
            f"The job {row.id} makes no model: its kind is {row.kind}.",
            "Name a job that trains or exports.",
            field="spec.source.job",
            value=row.id,
        )
    return Path(row.model_path)


def _content(folder: Path) -> Path:
    """The folder of weights that `folder` is or holds."""
    for one in (folder, *(folder / name for name in _INSIDE)):
        if any((one / mark).is_file() for mark in _MARKS):
            refuse_gguf(one)
            return one
    raise ModelError(f"{folder} holds neither a model nor an adapter.", "Name the folder that was exported.")


def _frozen(folder: Path, hashes: "_Hashes", *, job: str | None = None, names: tuple[str, ...] = ()) -> Frozen:
    """One folder: a model's, or an adapter's, whose base the replica finds as the adapter names it."""
    is_adapter = (folder / "adapter_config.json").is_file()
    return Frozen(
        model=str(folder),
        model_path=None if is_adapter else str(folder),
        adapter_path=str(folder) if is_adapter else None,
        job=job,
        names=names,
        files=hashes.of_folder(folder),
    )


class _Hashes:
    """Hashes files, but for those that have the size and time that they had in `known`."""

    def __init__(self, known: Frozen | None) -> None:
        self._known = {(file.path, file.size, file.modified): file for file in known.files} if known else {}

    def of_folder(self, folder: Path) -> tuple[FrozenFile, ...]:
        """The files of a folder that are served, as they are now."""
        return tuple(map(self._of_file, _served_files(folder)))

    def _of_file(self, file: Path) -> FrozenFile:
        state = file.stat()
        path, size, modified = str(file), state.st_size, state.st_mtime_ns
        return self._known.get((path, size, modified)) or FrozenFile(
            path=path, sha256=sha256_of(file), size=size, modified=modified
        )


def _served_files(folder: Path) -> Iterable[Path]:
    files = (file for file in folder.iterdir() if file.suffix in _SERVED and not file.name.startswith("."))
    return sorted({*(file for file in files if file.is_file()), *(folder / name for name in files_read(folder))})


def _is_as(file: FrozenFile) -> bool:
    path = Path(file.path)
    try:
        state = path.stat()
        if (state.st_size, state.st_mtime_ns) == (file.size, file.modified):
            return True
        return state.st_size == file.size and sha256_of(path) == file.sha256
    except OSError:
        return False
