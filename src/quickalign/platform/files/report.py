"""The data report of a file, made by a process of its own so that the server stays small and can give up on it."""

import tempfile
from pathlib import Path
from typing import Any

from quickalign.core.errors import OptionError
from quickalign.platform.files.preview import named
from quickalign.platform.programs.run import run_program

Json = dict[str, Any]

OPTIONS = ("data_format", "safe_rlhf_preference", "seq_length", "system_prompt", "apply_chat_template")


def data_report(blob: Path, filename: str, model: str | None, options: Json, seconds: float) -> Json:
    """The report on the content `blob` as JSON.

    Raises:
        OptionError: an option that does not exist; DataError, ModelError: as `quickalign.data.prepare.check`.
    """
    for name, value in options.items():
        if name not in OPTIONS:
            raise OptionError(
                f"There is no option {name!r} of the data report.",
                f"Use {', '.join(OPTIONS)}.",
                field=name,
                value=value,
            )
    with tempfile.TemporaryDirectory(prefix="quickalign-report-") as folder:
        file = named(blob, filename, Path(folder))
        request = {"uri": str(file), "model": model, "options": options}
        found = run_program("quickalign.platform.programs.data_report", request, seconds)
        return found | {"uri": filename}
