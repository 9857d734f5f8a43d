"""Files as answers, whole or in part."""

from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, MalformedRangeHeader, RangeNotSatisfiable

# A page among the results may hold words of a model: it is shown without scripts, and without a way out.
_SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Download(FileResponse):
    """A file of a job or an upload. A Range header that cannot be read is ignored, as RFC 9110 allows."""

    def __init__(self, path: Path, filename: str, media_type: str = "application/octet-stream") -> None:
        super().__init__(path, filename=filename, media_type=media_type)
        self.headers["Content-Security-Policy"] = _SANDBOX

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> Any:
        try:
            return super()._parse_range_header(http_range, file_size)
        except RangeNotSatisfiable:
            detail = f"The file has {file_size:,} bytes, and the range lies outside of it"
            raise HTTPException(416, detail, {"Content-Range": f"bytes */{file_size}"}) from None
        except (MalformedRangeHeader, ValueError):
            return []
