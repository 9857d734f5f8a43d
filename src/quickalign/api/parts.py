"""What else the server's program puts under its roof, such as the console, which this room may not know."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from quickalign.platform import Platform


@dataclass(frozen=True, slots=True)
class Part:
    """An application of its own below `prefix`.

    It decides itself who is let in: no bearer token is asked for there. Host and Origin are checked as everywhere.
    `uploads` are its paths that take files.
    """

    prefix: str
    make: Callable[[Platform], ASGIApp]
    uploads: tuple[str, ...] = ()

    def owns(self, path: str) -> bool:
        """Whether `path` is this part's to guard."""
        return path == self.prefix or path.startswith(f"{self.prefix}/")


def install(app: FastAPI, platform: Platform, parts: Sequence[Part]) -> None:
    """Mount `parts`; whoever asks for nothing in particular is sent to the first."""
    for part in parts:
        app.mount(part.prefix, part.make(platform), name=part.prefix)
    if parts:
        front = f"{parts[0].prefix}/"

        async def to_the_front(request: Request) -> Response:
            return RedirectResponse(front, status_code=307)

        for path in ("/", parts[0].prefix):
            app.add_api_route(path, to_the_front, include_in_schema=False)


def needs_no_token(path: str, parts: Sequence[Part]) -> bool:
    """Whether a part answers for `path`, or leads to one."""
    return bool(parts) and (path == "/" or any(part.owns(path) for part in parts))
