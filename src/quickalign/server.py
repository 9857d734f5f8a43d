"""`python -m quickalign.server`: the whole server, API and console, as a program.

It stands above both rooms and does nothing but put them together.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quickalign.api.__main__ import main

if TYPE_CHECKING:
    from quickalign.api.parts import Part


def parts() -> "Sequence[Part]":
    """What the server has besides the API; read only when it starts, so that `--help` is fast."""
    from quickalign.api.parts import Part  # noqa: PLC0415
    from quickalign.console.app import PREFIX, UPLOADS, make_console  # noqa: PLC0415

    return (Part(PREFIX, make_console, UPLOADS),)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], parts))
