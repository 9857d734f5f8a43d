"""Addresses in the dialect: what an `oss://` URI that a client was given, or has uploaded to, stands for here."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from quickalign.api.oss.app import BUCKET
from quickalign.api.pai.call import Refused, invalid, validated
from quickalign.core.errors import NotFoundError
from quickalign.core.wire.services import Source
from quickalign.platform import Platform
from quickalign.platform.objects.outputs import LABEL

_MODELS = "quickalign-models"
"""The bucket of model cards; it holds no objects, only names."""

SAMPLE = "oss://pai-quickstart-{region}/huggingface/datasets/safe_rlhf/sampled_train.json"


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and a key."""

    bucket: str
    key: str


def of_model(name: str) -> str:
    """The URI of a model card's weights."""
    return f"oss://{_MODELS}/{name}/"


def parse(field: str, uri: str) -> Place:
    """Bucket and key of a URI; an endpoint behind the bucket's name is left out.

    Raises:
        Refused: it is no `oss://` URI.
    """
    try:
        parts = urlsplit(uri)
        bucket = (parts.hostname or "").partition(".")[0]
    except ValueError:
        raise invalid(field, uri, "it is no URI") from None
    if parts.scheme != "oss" or not bucket:
        raise invalid(field, uri, "it must be an oss:// URI; other storage of the cloud is not reached from here")
    return Place(bucket, parts.path.lstrip("/"))


def to_model(platform: Platform, field: str, uri: str) -> str:
    """What a job is told to train: a card's name, or the folder of an earlier job's result.

    Raises:
        Refused: nothing that can be trained is there.
    """
    source = to_source(platform, field, uri)
    return (source.model if source.job is None else platform.jobs.get(source.job).model_path) or ""


def to_source(platform: Platform, field: str, uri: str) -> Source:
    """What a service is told to serve.

    Raises:
        Refused: nothing that can be served is there.
    """
    place = parse(field, uri)
    if place.bucket == _MODELS:
        return validated(Source, {"model": place.key.strip("/")}, {"model": field})
    if place.bucket == BUCKET and (job := platform.outputs.job(BUCKET, place.key)):
        return Source(job=job)
    raise Refused(
        400, "InvalidModelUri", f"{field}={uri[:200]!r} is neither a model of this server nor a job's result."
    )


def to_input(platform: Platform, field: str, uri: str) -> str:
    """What a job is told to read: an object that was uploaded here is the stored file it is; others stay as they are.

    Raises:
        Refused: there is no such object in the bucket of this server.
    """
    place = parse(field, uri)
    if place.bucket != BUCKET:
        return f"oss://{place.bucket}/{place.key}"
    key = place.key
    try:
        if key.endswith("/") or not key:
            key = _only(platform, field, uri, key)
        file = platform.objects.get(BUCKET, key).file
    except NotFoundError:
        raise Refused(404, "ObjectNotFound", f"{field}={uri[:200]!r}: there is no such object in {BUCKET!r}.") from None
    if file is None:
        raise invalid(field, uri, "the object is empty")
    return file


def _only(platform: Platform, field: str, uri: str, folder: str) -> str:
    """The key of the one object in a folder, as a client uploads a file into a folder of its own."""
    found = [one.key for one in platform.objects.list(BUCKET, folder) if one.bytes]
    if len(found) != 1:
        raise invalid(field, uri, f"it is a folder of {len(found)} files, and a channel is one file")
    return found[0]


def output_label(uri: str) -> dict[str, str]:
    """The label that lets a job's result be seen at `uri`.

    Raises:
        Refused: it is no folder of the bucket of this server.
    """
    place = parse("OutputUri", uri)
    if place.bucket != BUCKET or not place.key.endswith("/"):
        raise invalid("OutputUri", uri, f"results are seen in folders of the bucket {BUCKET!r}")
    return {LABEL: f"{place.bucket}/{place.key}"}
