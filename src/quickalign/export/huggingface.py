"""Pushing an export to a model repository of Hugging Face, or of a server that speaks its protocol (HF_ENDPOINT).

All files go in one commit, so a repository holds the whole export or nothing of it. Large files are sent before the
commit and stay in the hub's store: what an interrupted push has sent there is not sent again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from quickalign.core.checksums import git_sha1_of
from quickalign.core.errors import AccessError, ConflictError, OptionError, StorageError, UnavailableError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

SCHEME = "hf://"
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def repository(uri: str) -> str:
    """The repository `owner/name` that `hf://owner/name` names.

    Raises:
        OptionError: it names none.
    """
    name = uri.removeprefix(SCHEME).rstrip("/")
    if not _NAME.fullmatch(name):
        raise OptionError(f"{uri} names no model repository.", f"Write it as {SCHEME}owner/name.")
    return name


def needed(folder: Path, hashes: Mapping[str, str], repo: str) -> frozenset[str]:
    """The files of `folder`, whose SHA-256 are `hashes`, that `repo` does not hold with the same content.

    Raises:
        AccessError: the token is refused.
        UnavailableError: the hub does not answer.
    """
    there = _listed(repo)
    return frozenset(name for name, digest in hashes.items() if not _same(folder / name, digest, there.get(name)))


def send(folder: Path, names: tuple[str, ...], repo: str, *, private: bool) -> None:
    """Make `repo` where it does not exist, and commit the files `names` to it.

    Raises:
        AccessError: there is no token, or it may not write there.
        ConflictError: the repository is to be private and exists as a public one.
        StorageError: the hub refuses a file.
        UnavailableError: the hub does not answer, or the connection broke.
    """
    from huggingface_hub import CommitOperationAdd  # noqa: PLC0415 - heavy

    api = _api()
    if not api.token:
        raise AccessError("Sending to Hugging Face needs a token.", "Set HF_TOKEN to one that may write.")
    with _explained(repo):
        api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise ConflictError(
                f"{repo} exists and is public.", "Leave --private out, or make it private in its settings first."
            )
        if names:
            files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names]
            api.create_commit(repo, files, commit_message="Export of quickalign")


def _api() -> HfApi:
    from huggingface_hub import HfApi, get_token  # noqa: PLC0415 - heavy
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415

    disable_progress_bars()  # the command line draws its own
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=get_token() or False)


def _listed(repo: str) -> dict[str, RepoFile]:
    """The files that are there; none where there is no such repository yet."""
    from huggingface_hub.errors import RepositoryNotFoundError  # noqa: PLC0415
    from huggingface_hub.hf_api import RepoFile  # noqa: PLC0415

    with _explained(repo):
        try:
            return {file.path: file for file in _api().list_repo_tree(repo) if isinstance(file, RepoFile)}
        except RepositoryNotFoundError:
            return {}


def _same(file: Path, digest: str, there: RepoFile | None) -> bool:
    if there is None:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == digest)
    return there.size == file.stat().st_size and there.blob_id == git_sha1_of(file)  # as the hub knows small files


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """What goes wrong in the block, as a sentence."""
    from httpx2 import HTTPError  # noqa: PLC0415 - what huggingface_hub asks with
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError  # noqa: PLC0415

    again = "The same command goes on where it stopped."
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403) or isinstance(error, RepositoryNotFoundError):
            raise AccessError(
                f"Hugging Face does not let this token write to {repo} (HTTP {status}).",
                "Set HF_TOKEN to one that may.",
            ) from None
        said = f": {error.server_message.rstrip('.')}" if error.server_message else ""
        raise UnavailableError(f"Hugging Face answered HTTP {status} about {repo}{said}.", again) from None
    except ValueError as error:
        raise StorageError(f"Hugging Face refuses what is sent to {repo}: {_line(error)}.") from None
    except (HTTPError, RuntimeError, OSError) as error:
        raise UnavailableError(f"Sending to {repo} broke off: {_line(error.__cause__ or error)}.", again) from None


def _line(error: BaseException) -> str:
    """What an error says, on one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")
