"""The environment in which a stock client finds this server: an access key, a configuration file, a redirect."""

import json
import os
from pathlib import Path

from quickalign.core import atomic
from quickalign.core.errors import StorageError
from quickalign.core.wire.pai import AccessKeySecret
from quickalign.sdk.session import Session
from quickalign.sdk.stock.calls import AccessKeys

SITE = Path(__file__).parent / "site"
_FOLDER = "pai-client"
_NAME = "stock client"


def environment(session: Session) -> dict[str, str]:
    """The variables that a stock client needs, beside those that there are.

    The access key is made once for each server and kept in the home, readable by its owner only.

    Raises:
        QuickalignError: the server cannot be reached; StorageError: the home cannot be written.
    """
    endpoint = session.endpoint
    key = _key(session)
    folder = session.home / _FOLDER
    settings = {
        "region_id": key.region_id,
        "workspace_id": key.workspace_id,
        "oss_bucket_name": key.oss_bucket_name,
        "oss_endpoint": endpoint,
    }
    file = folder / "config.json"
    _write(file, json.dumps(settings, indent=1) + "\n")
    before = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(SITE)]
    return {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": key.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.access_key_secret,
        "PAI_CONFIG_PATH": str(file),
        "PAI_NETWORK_TYPE": "PUBLIC",
        "QUICKALIGN_PAI_ENDPOINT": endpoint,
        "PYTHONPATH": os.pathsep.join([str(SITE), *before]),
    }


def _key(session: Session) -> AccessKeySecret:
    """The key that was made for this server before, or a new one."""
    file = session.home / _FOLDER / "access-key.json"
    keys = AccessKeys(session.client)
    try:
        kept = AccessKeySecret.model_validate_json(file.read_bytes())
    except (OSError, ValueError):
        kept = None
    good = {key.id for key in keys.list() if key.revoked_at is None}
    if kept is not None and kept.access_key_id in good:
        return kept
    made = keys.create(_NAME)
    _write(file, made.model_dump_json() + "\n")
    return made


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic.write_text(file, text)
        file.chmod(0o600)
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {error.strerror or error}.", "Check the home folder.") from None
