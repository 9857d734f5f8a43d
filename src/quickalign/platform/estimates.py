"""What a job would need, by the planner itself, in a process of its own so that the server never loads torch."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quickalign.core.wire.jobs import Estimate, EstimateRequest, Resources
from quickalign.platform.config import Config
from quickalign.platform.devices import Device
from quickalign.platform.files.preview import named
from quickalign.platform.home import Home
from quickalign.platform.inputs import FIELDS, Inputs
from quickalign.platform.jobs.references import Reference
from quickalign.platform.jobs.requests import check_spec, check_workers, run_spec
from quickalign.platform.programs.run import run_program
from quickalign.platform.queue.needs import resources, wanted_gpus


class Estimates:
    """Makes estimates; a plan that does not fit is an answer, not an error."""

    def __init__(self, home: Home, config: Config, inputs: Inputs, devices: tuple[Device, ...]) -> None:
        self._output = str(home.output("estimate"))  # where a job's would be; nothing is made there
        self._config, self._inputs, self._devices = config, inputs, devices

    def make(
        self, request: EstimateRequest, copies: Mapping[str, tuple[Path, str]], references: Sequence[Reference] = ()
    ) -> Estimate:
        """Plan the job of `request`; `copies` are inputs that it has already, with their names, and `references` the
        jobs that it names as models.

        Raises:
            OptionError, DataError, ModelError, AccessError, StorageError: it could not be run; CapacityError: it asks
            for GPUs that are not there; UnavailableError: planning took too long.
        """
        parameters = check_spec(request.spec, self._inputs)
        check_workers(request.spec, parameters, request.workers, self._config)
        if request.gpus:
            model = references[0].base if references else request.spec.model
            resources(model, parameters, request.gpus, self._devices)
        with tempfile.TemporaryDirectory(prefix="quickalign-estimate-") as folder:
            paths = {field: path for field in FIELDS if (path := self._path(request, field, copies, Path(folder)))}
            paths |= {one.input.field: one.input.source for one in references}
            spec = Path(folder) / "spec.json"
            spec.write_text(json.dumps(run_spec(request.spec, paths, self._output)), encoding="utf-8")
            asked = ("--plan", str(spec), str(request.workers), self._device(request.gpus))
            found = run_program("quickalign.train", {}, self._config.estimate_seconds, *asked)
        plan: dict[str, Any] = found["plan"]
        peak, on_gpu = plan["predicted_peak_bytes"], int(plan["device_kind"] == "cuda")
        needed = Resources(gpus=on_gpu, memory_bytes=peak, workers=request.workers)
        reports = {"report": found["report"] | {"uri": request.spec.train}}
        if found["validation_report"] is not None:
            reports["validation_report"] = found["validation_report"] | {"uri": request.spec.validation}
        return Estimate(plan=plan, resources=needed, **reports)

    def _device(self, gpus: int | None) -> str:
        """What the job would run on, as the planner's program takes it: of a cluster, what the largest machine has."""
        kind = "cuda" if wanted_gpus(gpus, self._devices) else "cpu"
        room = next(device.largest_bytes for device in self._devices if device.kind == kind)
        return kind if room is None else f"{kind}:{room}"

    def _path(
        self, request: EstimateRequest, field: str, copies: Mapping[str, tuple[Path, str]], folder: Path
    ) -> str | None:
        text: str | None = getattr(request.spec, field, None)
        if text is None:
            return None
        if field in copies:
            blob, name = copies[field]
        else:
            source, name, _ = self._inputs.readable(f"spec.{field}", text)
            if not text.startswith("file-"):
                return source
            blob = Path(source)
        own = folder / field
        own.mkdir()
        return str(named(blob, name, own))
