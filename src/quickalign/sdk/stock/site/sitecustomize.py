"""Sends the stock client of PAI to a quickalign server: `quickalign pai run` and `pai env` put this folder on the path.

The client has no setting for its host. All of its calls go through one constant, which is set here as soon as the
module that holds it has been imported; nothing else of it is touched, and nothing is imported that the script does not.
"""

import importlib.util
import os
import sys
from typing import Any

_MODULE = "pai.api.client_factory"
_CONSTANT = "DEFAULT_SERVICE_ENDPOINT_PATTERN"


class _Redirect:
    """Finds the one module as everybody else would, and sets the constant behind it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                setattr(module, _CONSTANT, os.environ["QUICKALIGN_PAI_ENDPOINT"])

            setattr(spec.loader, "exec_module", exec_module)  # noqa: B010 - a method may not be assigned to
        return spec


if os.environ.get("QUICKALIGN_PAI_ENDPOINT"):
    sys.meta_path.insert(0, _Redirect())
