"""What one service on the cluster is asked to do: a replica's specification, and how many of them there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from quickalign.core.errors import OptionError
from quickalign.core.wire.services import Autoscaling
from quickalign.serve import spec as specs
from quickalign.serve.spec import ServeSpec

PREFIX = "quickalign-"
"""What the names of all our applications begin with."""


class ServiceSpec(ServeSpec):
    """One service. `python -m quickalign.cluster.service SPEC.json` runs it."""

    application: str = Field(
        pattern=rf"^{PREFIX}[A-Za-z0-9._-]{{1,100}}$", description="The name of its application on the cluster."
    )
    cluster: str = Field(default="auto", min_length=1, description="The cluster's address, as Ray takes it.")
    autoscaling: Autoscaling = Field(default=Autoscaling(max=1), description="How many replicas there are.")
    cpus: float = Field(default=1.0, ge=0, description="CPUs that each replica reserves.")
    gpus: float = Field(default=0.0, ge=0, description="GPUs that each replica reserves.")
    memory_bytes: int = Field(default=0, ge=0, description="Memory that each replica reserves; 0 reserves none.")
    wait_seconds: float = Field(
        default=60.0, ge=1, description="How long a request waits for a replica, before it gets 503."
    )

    @property
    def capacity(self) -> int:
        """Answers that one replica makes and keeps waiting."""
        return self.max_concurrency + self.max_waiting

    @property
    def refusal_file(self) -> Path | None:
        """Where a replica that cannot be says why."""
        return None if self.ready_file is None else self.ready_file.with_name("refused.json")


def parse(values: dict[str, Any], name: str = "the specification") -> ServiceSpec:
    """Validate the values of a spec.

    Raises:
        OptionError: a value that cannot be.
    """
    spec = specs.validated(ServiceSpec, values, name)
    if spec.share_base:
        raise OptionError(
            "share_base=true is not possible on a cluster: it gives each replica a place of its own.",
            "Leave share_base out, or set it to false.",
        )
    return spec.model_copy(update={"share_base": False})
