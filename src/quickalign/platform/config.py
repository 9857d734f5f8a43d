"""The operator's settings: `config.toml` in the home, which no request can change."""

import ipaddress
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    trust_remote_code: bool = Field(default=False, description="Whether code inside model folders may be run.")
    mirror: dict[str, str] = Field(
        default=SAMPLE_MIRROR,
        description="URIs (with * and ?) and what is read in their place: another URI, a path, or assets:<file>.",
    )
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
        name = ".".join(str(part) for part in first["loc"])
        raise OptionError(
            f"{file}: {name}: {first['msg']}.", "Correct the file; the server guide lists all settings.", field=name
        ) from None
    return config


def asset_path(target: str) -> str:
    """The path of a mirror's target that is written `assets:<file>`; other targets as they are."""
    name = target.removeprefix("assets:")
    return target if name == target else str(paths.assets() / name)
