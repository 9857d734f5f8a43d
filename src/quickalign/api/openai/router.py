"""The dialect as one router."""

from fastapi import APIRouter, Request

from quickalign.api.openai import files, jobs, models
from quickalign.core.errors import NotFoundError

router = APIRouter()
router.include_router(files.router)
router.include_router(jobs.router, prefix="/fine_tuning/jobs")
router.include_router(models.router)


@router.post("/responses")
@router.post("/embeddings")
async def no_service(request: Request) -> None:
    """Refuse what no service answers."""
    raise NotFoundError(
        f"Services do not answer {request.url.path}.", "They answer /v1/chat/completions and /v1/completions."
    )
