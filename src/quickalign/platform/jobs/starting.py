"""Getting a job's folder ready and handing it to the executor."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from quickalign.core import atomic
from quickalign.core.errors import StorageError
from quickalign.core.wire.jobs import Kind, NewJob, Resources
from quickalign.platform.db.tables import InputRow
from quickalign.platform.executors.base import Attempt, Executor, Launch
from quickalign.platform.files.blobs import Blobs
from quickalign.platform.home import Home
from quickalign.platform.jobs import kinds
from quickalign.platform.jobs.progress import ERROR_FILE


class Starter:
    """Starts attempts. Everything it writes is the same each time, so that it may be done again after a crash."""

    def __init__(
        self,
        home: Home,
        blobs: Blobs,
        executor: Executor,
        programs: Mapping[Kind, tuple[str, ...]] = kinds.PROGRAMS,
        worker_cpus: float = 1.0,
    ) -> None:
        self._home, self._blobs, self._executor, self._programs = home, blobs, executor, programs
        self._worker_cpus = worker_cpus

    def start(
        self, attempt: Attempt, request: NewJob, inputs: list[InputRow], device: int | None, taken: Resources
    ) -> None:
        """Begin the attempt on `device` of this machine, or wherever a cluster has what is `taken`.

        Raises:
            StorageError: the home has no room, or an input is gone.
        """
        folder = self._home.job(attempt.job)
        output = self._home.output(attempt.job)
        try:
            output.mkdir(parents=True, exist_ok=True)
            (output / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt, should this one fail without a word
            paths = {one.field: self._place(folder, one) for one in inputs}
            spec = kinds.program_spec(request, paths, output)
            atomic.write_text(folder / "spec.json", json.dumps(spec, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise StorageError(
                f"The job {attempt.job} cannot be made ready: {error.strerror or error}.", "Make room on the disk."
            ) from None
        workers = kinds.workers(request)
        command = (*self._programs[request.kind], *kinds.arguments(request, folder / "spec.json", output))
        if workers > 1:
            taken = taken.model_copy(update={"workers": workers})
            command = kinds.spread(folder / "spec.json", taken, self._worker_cpus)
        launch = Launch(
            command=command,
            folder=folder,
            device=device,
            results=kinds.results_of(request, output),
            copy_to=request.output,
            workers=workers,
            gpus=taken.gpus,
            memory_bytes=taken.memory_bytes,
        )
        self._executor.submit(attempt, launch)

    def _place(self, folder: Path, one: InputRow) -> str:
        """The input under its own name, from which its kind can be told; a second name of the content, not a copy."""
        if not one.blob:
            return one.source
        assert one.sha256 is not None
        target = folder / "inputs" / one.field / one.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            content = self._blobs.path(one.sha256)
            if not content.exists():
                raise StorageError(
                    f"The content of {one.field} ({one.name}, SHA-256 {one.sha256}) is gone from {self._home.blobs}.",
                    "Upload the file again and make a new job.",
                )
            try:
                os.link(content, target)
            except OSError:  # a file system without second names
                shutil.copyfile(content, target)
        return str(target)
