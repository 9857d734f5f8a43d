"""The server program with the stub trainer: `python -m tests.support.shared_server HOME DATABASE_URL`."""

import sys
from functools import partial
from pathlib import Path

from quickalign.api import server
from quickalign.platform import Platform
from quickalign.platform import config as configs
from quickalign.server import parts
from tests.support.platforms import STUB, cpu


def main(home: Path, url: str) -> None:
    config = configs.load(home).model_copy(update={"port": 0})
    Platform.open = partial(Platform.open, trainer=STUB, devices=cpu(4))
    server.run(home, config, database_url=url, insecure_http=False, parts=parts())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
