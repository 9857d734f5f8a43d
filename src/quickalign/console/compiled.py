"""Templates as compiled: once for all languages, and kept in the server's home from one start to the next.

Compiling all of them takes half a second, in which the first readers would wait.
"""

import os
from contextlib import suppress
from pathlib import Path

from jinja2.bccache import Bucket, BytecodeCache


class Compiled(BytecodeCache):
    """What differs between languages are texts alone, so that one compilation does for all.

    Jinja looks whether what was kept is of this Python and of the template as it is now, and compiles it again if not.
    Where there is no `folder`, or it cannot be written to, all are kept for as long as the server runs.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """See `BytecodeCache`."""
        code = self._known.get(bucket.key)
        if code is None and self.folder:
            with suppress(OSError):
                code = self._known[bucket.key] = (self.folder / bucket.key).read_bytes()
        if code is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """See `BytecodeCache`."""
        code = self._known[bucket.key] = bucket.bytecode_to_string()
        if self.folder:
            temporary = self.folder / f"{bucket.key}.{os.getpid()}"
            with suppress(OSError):
                self.folder.mkdir(exist_ok=True)
                temporary.write_bytes(code)
                temporary.replace(self.folder / bucket.key)
