"""The real replica program without its proof, for an engine whose double computes nothing: `... SPEC.json`."""

import json
import sys
from pathlib import Path

from quickalign.serve.__main__ import main

if __name__ == "__main__":
    given = Path(sys.argv[1])
    values = json.loads(given.read_text())
    unproven = given.with_name("unproven.json")
    unproven.write_text(json.dumps(values | {"prove": False}))
    sys.exit(main([str(unproven)]))
