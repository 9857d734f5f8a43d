"""Values that the reference shows. The ids in paths are replaced by real ones where the examples run as tests."""

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.base import Page
from quickalign.core.wire.files import RowPreview, RowTexts, RowTextsPage, StoredFile, Turn
from quickalign.core.wire.jobs import (
    Checkpoint,
    Estimate,
    EstimateRequest,
    Event,
    Job,
    JobCreate,
    JobState,
    LogChunk,
    MetricsPage,
    Progress,
    Reason,
    Resources,
    TrainRequest,
)
from quickalign.core.wire.system import DeviceInfo, ModelDetail, ModelSummary, QueueEntry, SystemInfo
from quickalign.core.wire.votes import Candidate, Vote, VoteCreate

JOB_ID = "job-k3v7qz2mfw5xt4hcr6ypjd2a"
FILE_ID = "file-t5n2wq7rkz4cxb3vdm6yhf7e"
MODEL = "qwen2.5-0.5b-instruct"
_NOW = 1_790_000_000.0
_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

FILE = StoredFile(id=FILE_ID, filename="pairs.jsonl", bytes=182_044, sha256=_SHA, created_at=_NOW)
FILES = Page[StoredFile](items=(FILE,))
ROWS = RowPreview(
    format="safe-rlhf",
    rows=({"prompt": "Why is the sky blue?", "response_0": "Because of scattering.", "response_1": "It is not."},),
    offset=0,
    next_offset=1,
)
TEXTS = RowTextsPage(
    format="prompt-chosen-rejected",
    items=(
        RowTexts(row=1, prompt=(Turn(role="user", content="Hi"),), chosen="Hello!", rejected="What?", category=None),
    ),
    offset=0,
    next_offset=1,
)
SPEC = TrainRequest(
    model=MODEL,
    train=FILE_ID,
    hyperparameters={"training_strategy": "dpo", "learning_rate": 5e-5, "num_train_epochs": 1, "dpo_beta": 0.1},
)
CREATE = JobCreate(name="support-answers", spec=SPEC, metadata={"team": "support"})
CHANGES = {"name": "support-answers-beta", "spec": {"hyperparameters": {"dpo_beta": 0.3}}}
JOB = Job(
    id=JOB_ID,
    name="support-answers",
    state=JobState.RUNNING,
    spec=SPEC,
    inputs={"train": _SHA},
    resources=Resources(gpus=1, memory_bytes=6_200_000_000),
    metadata={"team": "support"},
    attempt=1,
    progress=Progress(phase="train", step=40, total_steps=120, seconds_left=96.0, loss=0.52, rewards_accuracy=0.81),
    created_at=_NOW,
    started_at=_NOW + 2,
)
JOBS = Page[Job](items=(JOB,), next=JOB_ID)
EVENTS = Page[Event](
    items=(Event(sequence=1, created_at=_NOW, kind="state", message="The job is queued.", data={"to": "queued"}),),
    next="1",
)
LOG = LogChunk(offset=0, next_offset=28, text="step 40/120  loss 0.52  ...\n", complete=False)
METRICS = MetricsPage(items=({"step": 1, "loss": 0.6931, "rewards_accuracy": 0.5},), next_offset=1, complete=False)
CHECKPOINTS = Page[Checkpoint](
    items=(
        Checkpoint(
            step=40,
            created_at=_NOW + 60,
            path=f"/home/ann/.quickalign/jobs/{JOB_ID}/output/checkpoints/step-40",
            metrics={"loss": 0.52},
        ),
    )
)
ESTIMATE_REQUEST = EstimateRequest(spec=SPEC)
ESTIMATE = Estimate(
    plan={"steps": 120, "predicted_peak_bytes": 6_200_000_000, "fits": True},
    report={"rows": 960, "ok": 960, "bad": 0, "format": "safe-rlhf"},
    resources=Resources(gpus=1, memory_bytes=6_200_000_000),
)
SUMMARY = ModelSummary(
    name=MODEL,
    title="Qwen2.5 0.5B Instruct",
    family="Qwen2.5",
    provider="Qwen",
    parameters=494_032_768,
    context_length=32_768,
    license="Apache-2.0",
    instruct=True,
    embedded=False,
    languages=("en", "zh"),
    methods=("full", "lora", "qlora-4bit"),
    strategies=("sft", "dpo"),
    gpu_memory_gb={"full": 10.1, "lora": 3.4, "qlora-4bit": 2.6},
)
MODELS = Page[ModelSummary](items=(SUMMARY,))
DETAIL = ModelDetail(
    **SUMMARY.model_dump(),
    huggingface="Qwen/Qwen2.5-0.5B-Instruct",
    modelscope="Qwen/Qwen2.5-0.5B-Instruct",
    revision="main",
    mission_gpu="A10",
    hyperparameters={"properties": {"dpo_beta": Hyperparameters.model_json_schema()["properties"]["dpo_beta"]}},
)
SYSTEM = SystemInfo(
    version="0.3.0",
    versions={"torch": "2.13.0"},
    started_at=_NOW,
    database="sqlite",
    home="/home/ann/.quickalign",
    devices=(DeviceInfo(name="NVIDIA L4", kind="cuda", index=0, total_bytes=24 << 30, reserved_bytes=0),),
    queue=(
        QueueEntry(
            job=JOB_ID,
            position=1,
            priority=0,
            resources=Resources(gpus=1),
            reason=Reason(code="waiting_for_gpu", message="All GPUs are taken."),
        ),
    ),
    jobs={"queued": 1, "running": 1},
)
VOTE_CREATE = VoteCreate(
    messages=(Turn(role="user", content="Hi"),),
    left=Candidate(text="Hello!", service="support"),
    right=Candidate(text="What?", service="support-old"),
    choice="left",
)
VOTE = Vote(**VOTE_CREATE.model_dump(), id="vote-k3v7qz2mfw5xt4hcr6ypjd2a", created_at=_NOW)
VOTES = Page[Vote](items=(VOTE,))
