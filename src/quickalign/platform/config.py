"""The operator's settings: `config.toml` in the home, which no request can change."""

import ipaddress
import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from quickalign.core import paths
from quickalign.core.errors import OptionError

_GIB = 1 << 30
_SAMPLE = "oss://pai-quickstart-*/huggingface/datasets/safe_rlhf"
SAMPLE_MIRROR = {
    f"{_SAMPLE}/sampled_train.json": "assets:sample/train.json",
    f"{_SAMPLE}/sampled_dev.json": "assets:sample/heldout.json",
    f"{_SAMPLE}/sampled_validation.json": "assets:sample/heldout.json",
    f"{_SAMPLE}/sampled_test.json": "assets:sample/heldout.json",
}
"""The sample data of PAI-QuickStart, which only its cloud can read, and what stands in for it here."""


class RayConfig(BaseModel):
    """The Ray cluster that runs jobs and services, where `executor` is "ray"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str | None = Field(
        default=None,
        description='The cluster\'s dashboard, such as "http://head:8265"; "local" starts a cluster here, for trying.',
    )
    token_file: Path | None = Field(
        default=None, description="A file with the cluster's token, readable by its owner only."
    )
    python: str | None = Field(
        default=None, description="The interpreter on the nodes that has quickalign; the server's own path by default."
    )
    jobs: int = Field(default=100, ge=1, description="Jobs that the cluster is given at once; Ray finds their places.")
    cpus: float = Field(default=1, gt=0, description="CPUs that a job reserves, and so the threads it computes with.")
    card_gb: float | None = Field(
        default=None, gt=0, description="The memory of the cluster's GPUs, where none is there when the server starts."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        address = self.address
        if address is not None and address != "local" and not address.startswith(("http://", "https://")):
            raise ValueError('address must be "local", or begin with http:// or https://')
        if address == "local" and self.token_file is not None:
            raise ValueError("token_file is for a cluster that exists; a local one makes its own token")
        return self


class Config(BaseModel):
    """All settings, with what holds where the file says nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="The address the server listens on.")
    port: int = Field(default=8421, ge=0, le=65535, description="Its port; 0 takes any free one.")
    public_url: str | None = Field(default=None, description="How clients reach it behind a proxy.")
    allowed_hosts: tuple[str, ...] = Field(default=(), description="Further host names that requests may name.")
    tls_certificate: Path | None = Field(default=None, description="Certificate for HTTPS, in PEM.")
    tls_key: Path | None = Field(default=None, description="Its key.")
    max_upload_bytes: int = Field(default=20 * _GIB, ge=1, description="The largest file that can be uploaded.")
    storage_schemes: tuple[str, ...] = Field(
        default=("s3", "oss", "hf"), description="URI schemes that jobs may read from and write to."
    )
    local_roots: tuple[Path, ...] | None = Field(
        default=None,
        description="Folders of this machine that jobs may read from and write to, besides the home and the sample "
        "set. Where it is not set: everything this user can, on a server that only this machine reaches; nothing else "
        "on any other.",
    )
    trust_remote_code: bool = Field(
        default=False, description="Always false, true is refused: code that comes with a model is never run."
    )
    mirror: dict[str, str] = Field(
        default=SAMPLE_MIRROR,
        description="URIs (with * and ?) and what is read in their place: another URI, a path, or assets:<file>.",
    )
    executor: Literal["local", "ray"] = Field(
        default="local", description='What runs jobs and services: this machine, or a Ray cluster ("ray", see `[ray]`).'
    )
    ray: RayConfig = Field(default=RayConfig(), description="The Ray cluster; see the cluster guide.")
    cpu_jobs: int = Field(default=1, ge=0, description="CPU jobs at once; 0 lets them wait.")
    gpu_jobs: int = Field(default=1, ge=1, description="Jobs at once on each GPU, where their memory allows.")
    start_seconds: float = Field(default=120, gt=0, description="A job that has not begun by then is started again.")
    stop_seconds: float = Field(default=300, gt=0, description="How long a job may take to save when it is stopped.")
    retry_seconds: float = Field(default=2, ge=0, description="Wait before the first restart; doubles each time.")
    retry_seconds_max: float = Field(default=300, ge=0, description="The longest such wait.")
    service_start_seconds: float = Field(
        default=1800, gt=0, description="A replica of a service that is not ready by then is started again."
    )
    service_stop_seconds: float = Field(
        default=30, ge=0, description="How long open answers may go on when a replica is stopped; then it is killed."
    )
    service_retries: int = Field(
        default=5, ge=0, description="Restarts of a replica that does not get ready, before its revision is given up."
    )
    engine_cache_gb: float = Field(
        default=20,
        ge=0,
        description="What models converted for an engine may take on the disk, in GB; what no replica uses goes first.",
    )
    service_wait_seconds: float = Field(
        default=60, ge=0, description="How long a request waits for a service that is starting, before it gets 503."
    )
    log_contents: bool = Field(
        default=False, description="Whether the log shows what services are asked and answer, up to 64 KiB of each."
    )
    events_kept: int = Field(
        default=20_000, ge=100, description="Events kept for each job or service; the oldest go first."
    )
    estimate_seconds: float = Field(default=600, gt=0, description="How long an estimate or a data report may take.")
    jupyter_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
        description="A running Jupyter server, as browsers reach it, in which the console opens notebooks.",
    )
    jupyter_token_file: Path | None = Field(default=None, description="A file that holds that server's token.")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.trust_remote_code:
            raise ValueError("trust_remote_code cannot be true: code that comes with a model is never run; remove it")
        if self.executor == "local" and "ray" in self.model_fields_set:
            raise ValueError('[ray] is set, but nothing uses it: set executor = "ray", or remove it')
        if self.executor == "ray":
            if self.ray.address is None:
                raise ValueError('executor = "ray" needs ray.address: a dashboard\'s address, or "local"')
            here = sorted({"cpu_jobs", "gpu_jobs"} & self.model_fields_set)
            if here:
                raise ValueError(f'{here[0]} is of this machine and says nothing with executor = "ray": set ray.jobs')
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def readable_roots(self) -> tuple[Path, ...]:
        """`local_roots`, or what stands for it where it is not set."""
        if self.local_roots is None:
            return (Path("/"),) if self.is_loopback and self.public_url is None else ()
        return tuple(root.expanduser().resolve() for root in self.local_roots)


def load(home: Path) -> Config:
    """Read `<home>/config.toml`; the defaults where there is none.

    Raises:
        OptionError: it cannot be read, or a setting is unknown or impossible.
    """
    file = home / "config.toml"
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{file} cannot be read: {error}.", "Correct the file, or remove it.") from None
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or None
        said = first["msg"].removeprefix("Value error, ")
        where = f"{file}: {name}" if name else str(file)
        raise OptionError(
            f"{where}: {said}.", "Correct the file; the server guide lists all settings.", field=name
        ) from None
    return config


def asset_path(target: str) -> str:
    """The path of a mirror's target that is written `assets:<file>`; other targets as they are."""
    name = target.removeprefix("assets:")
    return target if name == target else str(paths.assets() / name)
