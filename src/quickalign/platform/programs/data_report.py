"""`python -m quickalign.platform.programs.data_report`: the data report of a request on standard input, as JSON."""

import json
import sys
from typing import Any

from quickalign.core.errors import QuickalignError
from quickalign.core.hyperparameters import Hyperparameters


def main() -> int:
    """Print the report, or what went wrong; returns the exit code of `core.errors`."""
    try:
        sys.stdout.write(_report(json.load(sys.stdin)) + "\n")
    except QuickalignError as error:
        sys.stdout.write(json.dumps({"message": error.message, "remedy": error.remedy}) + "\n")
        return error.exit_code
    return 0


def _report(request: dict[str, Any]) -> str:
    from quickalign.data.prepare import DataRequest, check  # noqa: PLC0415 - after the request was read

    defaults = Hyperparameters()
    options = {"seq_length": defaults.seq_length, "system_prompt": defaults.system_prompt} | request["options"]
    tokenizer, context = _about(request["model"]) if request["model"] else (None, None)
    return check(DataRequest(uri=request["uri"], **options), tokenizer, context=context).model_dump_json()


def _about(model: str) -> tuple[Any, int]:
    """The model's tokenizer, and its context in tokens."""
    from quickalign.data.tokenizer import load_tokenizer  # noqa: PLC0415
    from quickalign.hub.shape import read_shape  # noqa: PLC0415
    from quickalign.hub.source import resolve  # noqa: PLC0415

    path = resolve(model).path
    return load_tokenizer(path), read_shape(path).context_length


if __name__ == "__main__":
    sys.exit(main())
