"""Errors in the shape of the published API."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from quickalign.core.wire.base import Problem

_PARAMETERS = {
    "spec.train": "training_file",
    "spec.validation": "validation_file",
    "spec.model": "model",
    "spec.hyperparameters": "method",
    "file_id": "file_id",
    "name": "suffix",
}
"""What a field of the native API is called here."""

_CODES = {401: "invalid_api_key", 404: "not_found", 413: "too_large", 503: "unavailable"}
# The stock client sends a request again that was answered with 409, which no repetition mends.
_STATUS = {409: 400, 422: 400}


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for `problem`."""
    status = _STATUS.get(problem.status, problem.status)
    error = {
        "message": f"{problem.detail} {problem.remedy}" if problem.remedy else problem.detail,
        "type": _kind(status),
        "param": _PARAMETERS.get(problem.field, problem.field) if problem.field else None,
        "code": _CODES.get(status, problem.type.rpartition(":")[2].replace("-", "_")),
    }
    return Response(
        orjson.dumps({"error": error}), status_code=status, media_type="application/json", headers=dict(headers or {})
    )


def _kind(status: int) -> str:
    if status == 401:
        return "authentication_error"
    if status == 403:
        return "permission_error"
    return "server_error" if status >= 500 else "invalid_request_error"
