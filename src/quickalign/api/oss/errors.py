"""Errors in the protocol's words."""

from starlette.responses import Response

from quickalign.api.logs import request_id
from quickalign.api.oss.xml import answer
from quickalign.api.signed import Refusal
from quickalign.core import errors
from quickalign.core.errors import QuickalignError

_CODES: dict[type[QuickalignError], tuple[int, str]] = {
    errors.NotFoundError: (404, "NoSuchKey"),
    errors.ConflictError: (409, "FileImmutable"),
    errors.TooLargeError: (400, "EntityTooLarge"),
    errors.AccessError: (403, "AccessDenied"),
    errors.OptionError: (400, "InvalidArgument"),
    errors.DataError: (400, "InvalidDigest"),
    errors.StorageError: (503, "ServiceUnavailable"),
    errors.UnavailableError: (503, "ServiceUnavailable"),
}
_FIELDS = {"bucket": "InvalidBucketName", "key": "InvalidObjectName", "Part": "InvalidPart", "uploadId": "NoSuchUpload"}

_REFUSALS = {
    Refusal.MALFORMED: (403, "AccessDenied", "The request is not signed, or its signature cannot be read."),
    Refusal.UNKNOWN_KEY: (403, "InvalidAccessKeyId", "The access key is not known here, or was revoked."),
    Refusal.WRONG_SIGNATURE: (403, "SignatureDoesNotMatch", "The signature is not that of the request and the key."),
    Refusal.STALE: (403, "RequestTimeTooSkewed", "The request was signed too long ago, or in the future."),
    Refusal.REPLAYED: (403, "AccessDenied", "The request was made before."),
}


def refused(reason: Refusal) -> Response:
    """The answer to a request that is not let in."""
    status, code, message = _REFUSALS[reason]
    return respond(status, code, message)


def of_error(error: QuickalignError) -> Response:
    """The answer for an error of ours."""
    status, code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), (500, "InternalError"))
    if status in (400, 404) and error.field in _FIELDS:
        code = _FIELDS[error.field] if status == 400 or error.field == "uploadId" else code
    return respond(status, code, str(error))


def respond(status: int, code: str, message: str) -> Response:
    """An error document."""
    return answer("Error", [("Code", code), ("Message", message), ("RequestId", request_id() or "-")], status)
