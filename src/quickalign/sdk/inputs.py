"""Data and places as a program names them, turned into what the server can read: ids, URIs, paths, or an upload."""

import os
from pathlib import Path

from quickalign.core import storage
from quickalign.core.errors import AccessError, OptionError, StorageError
from quickalign.core.wire.jobs import Job, NewJob
from quickalign.sdk.session import Session

FILE_PREFIX = "file-"
_INPUTS = ("train", "validation", "data")
_WEIGHTS = ("config.json", "adapter_config.json", "quickalign.json")
_OF_A_RUN = ("adapter/adapter_config.json", "model/config.json")


def resolve_input(session: Session, value: str | os.PathLike[str]) -> str:
    """What to send for `value`: a file's id, a remote URI, or a path as it is; a local file is uploaded where the
    server is not this home's own.

    Raises:
        StorageError: it is a local file that does not exist, or a device or a pipe.
    """
    text = os.fspath(value)
    if text.startswith(FILE_PREFIX) and not Path(text).exists():
        return text
    path = storage.local_path(text)
    if path is None:
        return text
    if not storage.exists(text):
        raise StorageError(
            f"{text} does not exist.", "Check the path; relative paths start at the current folder of this program."
        )
    storage.check_regular(path, text)
    return str(path.resolve()) if session.is_own_server else session.files.upload(path).id


def resolve_model(session: Session, value: str) -> str:
    """What to send as a job's model: a folder of this machine as a whole path, anything else as it is."""
    folder = Path(value).expanduser()
    written_as_path = value.startswith(("/", ".", "~")) or value.endswith("/")
    holds_weights = any((folder / name).is_file() for name in _WEIGHTS)
    # a bare name may be a card's, and a folder of a run lie here under the same one
    names_run = "/" in value and holds_run(folder)
    if not (written_as_path or holds_weights or names_run or any(folder.glob("*.gguf"))):  # which the server refuses
        return value
    if session.is_own_server:
        return str(folder.resolve())
    raise OptionError(
        f"The model {value} is a folder of this machine, and the server is at {session.endpoint}.",
        "Name a model card or a repository.",
    )


def holds_run(folder: Path) -> bool:
    """Whether a finished run's results are in `folder`."""
    return any((folder / name).is_file() for name in _OF_A_RUN)


def resolve_output(session: Session, value: str | os.PathLike[str]) -> str:
    """What to send as a job's output.

    Raises:
        OptionError: it is a path of this machine, and the server may be another one.
    """
    text = os.fspath(value)
    path = storage.local_path(text)
    if path is None:
        return text
    if session.is_own_server:
        return str(path.absolute())
    raise OptionError(
        f"The output {text} is a path of this machine, and the server is at {session.endpoint}.",
        "Name a URI, or leave it out and fetch the results from the server.",
    )


def submit(session: Session, request: NewJob) -> Job:
    """Make the job; a local file that the server may not read is uploaded instead.

    Raises:
        QuickalignError: the server refuses the job.
    """
    try:
        return session.jobs.create(request)
    except AccessError as refusal:
        refused = {name: path for name in _INPUTS if (path := _path_at_fault(request, name, refusal))}
        if not refused:
            raise
    changes = {name: session.files.upload(Path(path)).id for name, path in refused.items()}
    return session.jobs.create(request.model_copy(update={"spec": request.spec.model_copy(update=changes)}))


def _path_at_fault(request: NewJob, name: str, refusal: AccessError) -> str | None:
    """The local path in the input `name` that the server refused to read."""
    value: str | None = getattr(request.spec, name, None)
    if value is None or not Path(value).is_absolute() or not Path(value).is_file():
        return None
    return value if refusal.value == value or (refusal.field or "").endswith(name) else None
