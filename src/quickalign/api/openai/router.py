"""The dialect as one router."""

from fastapi import APIRouter, Request

from quickalign.api.openai import files, jobs, models
from quickalign.core.errors import NotFoundError

router = APIRouter()
router.include_router(files.router)
router.include_router(jobs.router, prefix="/fine_tuning/jobs")
router.include_router(models.router)


@router.post("/chat/completions")
@router.post("/completions")
@router.post("/responses")
@router.post("/embeddings")
async def no_service(request: Request) -> None:
    """Refuse to answer: no model is being served."""
    raise NotFoundError(
        f"No model is deployed on this server, so {request.url.path} has nothing to answer with.",
        "Download the adapter from the job's artifacts to serve it elsewhere.",
        field="model",
    )
