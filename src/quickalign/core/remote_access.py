"""Credentials and endpoints of remote stores, from the environment alone.

OSS is reached through its S3-compatible interface. Two settings follow Alibaba Cloud's own notes on that interface:
buckets are addressed as host names (OSS refuses `endpoint/bucket`), and requests carry the version 2 signature, because
the version 4 signature of the AWS library uploads in signed chunks, which OSS refuses.
"""

import os
from dataclasses import dataclass, field
from typing import Any

from quickalign.core.errors import StorageError

_CONNECT_SECONDS = 10
_READ_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Access:
    """How one store is reached; `signed` says whether any credentials were found. Secrets stay out of `repr`."""

    store: str
    variables: str
    endpoint: str | None
    signed: bool
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    region: str | None = None
    virtual_hosts: bool = False


def s3_access() -> Access:
    """S3 by the AWS_* variables; else what the AWS library finds (profile, role); else unsigned, for public files.

    Raises:
        StorageError: the environment sets half of a key pair, or an AWS profile that cannot be used.
    """
    key, secret = _pair("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return Access(
        store="S3",
        variables="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        endpoint=_variable("AWS_ENDPOINT_URL_S3") or _variable("AWS_ENDPOINT_URL"),
        signed=key is not None or _has_other_aws_credentials(),
        key=key,
        secret=secret,
        token=_variable("AWS_SESSION_TOKEN"),
        region=_variable("AWS_REGION") or _variable("AWS_DEFAULT_REGION"),
    )


def oss_access(endpoint: str | None = None) -> Access:
    """OSS by the OSS_* variables; unsigned, for public files, where no key is set.

    Raises:
        StorageError: neither the URI nor the environment says which endpoint to use, or half of a key pair is set.
    """
    region = (_variable("OSS_REGION") or "").removeprefix("oss-")
    endpoint = endpoint or _variable("OSS_ENDPOINT") or (f"s3.oss-{region}.aliyuncs.com" if region else None)
    if endpoint is None:
        raise StorageError(
            "oss:// needs the bucket's region.", "Set OSS_REGION, such as cn-hangzhou, or OSS_ENDPOINT to the endpoint."
        )
    key, secret = _pair("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET")
    return Access(
        store="OSS",
        variables="OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET",
        endpoint=endpoint if "://" in endpoint else f"https://{endpoint}",
        signed=key is not None,
        key=key,
        secret=secret,
        token=_variable("OSS_SESSION_TOKEN"),
        region=region or None,
        virtual_hosts=True,
    )


def hf_access() -> Access:
    """The Hugging Face hub, or the server HF_ENDPOINT names, with HF_TOKEN or the token of a login."""
    from huggingface_hub import get_token  # noqa: PLC0415

    token = get_token()
    endpoint = _variable("HF_ENDPOINT") or "https://huggingface.co"
    return Access("Hugging Face", "HF_TOKEN", endpoint.rstrip("/"), signed=bool(token), token=token)


def s3_filesystem(access: Access) -> Any:
    """An s3fs file system. Listings are not cached: a file may appear while we run."""
    from s3fs import S3FileSystem  # noqa: PLC0415

    config: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        "retries": {"mode": "standard", "total_max_attempts": 3},
    }
    if access.virtual_hosts:
        config |= {
            "s3": {"addressing_style": "virtual"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        if access.signed:
            config["signature_version"] = "s3"
    return S3FileSystem(
        anon=not access.signed,
        key=access.key,
        secret=access.secret,
        token=access.token,
        endpoint_url=access.endpoint,
        client_kwargs={"region_name": access.region} if access.region else {},
        config_kwargs=config,
        use_listings_cache=False,
    )


def hf_filesystem(access: Access) -> Any:
    """huggingface_hub's file system."""
    from huggingface_hub import HfFileSystem  # noqa: PLC0415

    return HfFileSystem(endpoint=access.endpoint, token=access.token or False, use_listings_cache=False)


def _has_other_aws_credentials() -> bool:
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped] # noqa: PLC0415
    from botocore.session import Session  # type: ignore[import-untyped] # noqa: PLC0415

    try:
        return Session().get_credentials() is not None
    except BotoCoreError as error:
        raise StorageError(f"The AWS settings of this machine cannot be used: {error}.", "Check AWS_PROFILE.") from None


def _pair(key_name: str, secret_name: str) -> tuple[str | None, str | None]:
    key, secret = _variable(key_name), _variable(secret_name)
    if (key is None) != (secret is None):
        missing, present = (key_name, secret_name) if key is None else (secret_name, key_name)
        raise StorageError(f"{present} is set and {missing} is not.", "Set both, or neither for public files.")
    return key, secret


def _variable(name: str) -> str | None:
    return os.environ.get(name) or None
