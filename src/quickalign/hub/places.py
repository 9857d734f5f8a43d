"""The places a repository's model is looked for, in order: mirror, caches, Hugging Face, ModelScope."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from quickalign.core import paths, storage
from quickalign.core.errors import ModelError
from quickalign.hub.cards import ModelCard, card_or_none, find_card
from quickalign.hub.download import Progress, download, is_complete
from quickalign.hub.folder import CONFIG, check_folder
from quickalign.hub.huggingface import HuggingFace
from quickalign.hub.mirror import StorageMirror
from quickalign.hub.modelscope import ModelScope
from quickalign.hub.repository import Origin, Repository, Unavailable

MIRROR_VARIABLE = "QUICKALIGN_MODEL_MIRROR"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*")

Found = tuple[Path, Origin]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model by its repository. `pinned` says that the user named the revision.

    `modelscope` is the id and revision there, None where ModelScope cannot have what is wanted: revisions of one hub
    mean nothing on the other.
    """

    name: str
    card: ModelCard | None
    repo: str
    revision: str
    pinned: bool
    modelscope: tuple[str, str] | None

    @property
    def cache(self) -> Path:
        """Where a download of it lies, whichever place it came from."""
        return paths.models_cache() / f"{self.repo}@{self.revision}".replace("/", "--")


def wanted(model: str, revision: str | None) -> Wanted:
    """What a card's name or a repository id asks for.

    Raises:
        ModelError: `model` is neither; the sentence names the nearest card.
    """
    card = card_or_none(model) if _REPOSITORY.fullmatch(model) else find_card(model)
    pinned = revision is not None
    if card is None:
        return Wanted(model, None, model, revision or "main", pinned, None if pinned else (model, "master"))
    modelscope = None if pinned or card.modelscope is None else (card.modelscope, card.modelscope_revision)
    return Wanted(card.name, card, card.huggingface or card.name, revision or card.revision, pinned, modelscope)


def search(model: Wanted, progress: Progress | None) -> Found:
    """The model's folder on this machine, fetched where it must be, and where it came from.

    Raises:
        ModelError: no place has it; the sentence names each and its answer.
    """
    tried = []
    for place, look in _places(model, progress):
        try:
            return look()
        except Unavailable as answer:
            tried.append(f"{place} {answer}")
    raise ModelError(
        f"{model.name} could not be found: {'; '.join(tried)}.",
        f"Check the name and the network, name a folder that holds the model, or set {MIRROR_VARIABLE}.",
    )


def _places(model: Wanted, progress: Progress | None) -> Iterator[tuple[str, Callable[[], Found]]]:
    if mirror := os.environ.get(MIRROR_VARIABLE):
        yield f"the mirror ({mirror})", lambda: _from_mirror(mirror, model, progress)
    yield f"the cache ({model.cache.parent})", lambda: _from_cache(model)
    yield "the Hugging Face cache", lambda: _from_huggingface_cache(model)
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        yield "the network", _switched_off
        return
    huggingface = HuggingFace()
    yield huggingface.place, lambda: _fetch(huggingface, model.repo, model.revision, model, progress)
    if model.modelscope is not None:
        (repo, revision), modelscope = model.modelscope, ModelScope()
        yield modelscope.place, lambda: _fetch(modelscope, repo, revision, model, progress)


def _from_mirror(mirror: str, model: Wanted, progress: Progress | None) -> Found:
    if mirror.lower().startswith(("http://", "https://")):
        return _fetch(HuggingFace(mirror), model.repo, model.revision, model, progress)
    if model.pinned:
        raise Unavailable(f"holds one unnamed revision of each model, and {model.revision} is asked for")
    base = storage.local_path(mirror)
    if base is None:
        return _fetch(StorageMirror(mirror), model.repo, model.revision, model, progress)
    folder = base / model.repo
    if not folder.is_dir():
        raise Unavailable("does not have it")
    check_folder(folder)
    return folder.resolve(), "mirror"


def _from_cache(model: Wanted) -> Found:
    if not is_complete(model.cache):
        raise Unavailable("does not have it" if not model.cache.exists() else "has only a damaged copy of it")
    check_folder(model.cache)
    return model.cache, "cache"


def _from_huggingface_cache(model: Wanted) -> Found:
    from huggingface_hub import constants, try_to_load_from_cache  # noqa: PLC0415 - heavy

    config = try_to_load_from_cache(model.repo, CONFIG, cache_dir=constants.HF_HUB_CACHE, revision=model.revision)
    if not isinstance(config, str):
        raise Unavailable("does not have it")
    try:
        check_folder(Path(config).parent)
    except ModelError as error:
        raise Unavailable(f"has no whole copy of it ({error.message.rstrip('.')})") from None
    return Path(config).parent, "cache"


def _fetch(repository: Repository, repo: str, revision: str, model: Wanted, progress: Progress | None) -> Found:
    if is_complete(model.cache):  # a mirror that is asked first need not be asked twice
        return model.cache, "cache"
    snapshot = repository.snapshot(repo, revision)
    return download(repository, snapshot, model.cache, progress), repository.origin


def _switched_off() -> Found:
    raise Unavailable("is switched off by HF_HUB_OFFLINE")
