"""What a remote store's library raises, as one sentence with a remedy."""

from quickalign.core.errors import StorageError
from quickalign.core.remote_access import Access

_BAD_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_REFUSED = {"401", "403", "AccessDenied"} | _BAD_CREDENTIALS


def is_refusal(error: BaseException) -> bool:
    """Whether a "not found" of the hub may hide a repository that needs a licence or a token."""
    return any(type(link).__name__ in {"GatedRepoError", "RepositoryNotFoundError"} for link in _chain(error))


def storage_error(uri: str, access: Access, error: Exception) -> StorageError:
    """What went wrong at `uri`, in one sentence with a remedy."""
    names = {type(link).__name__ for link in _chain(error)}
    codes = _codes(error)
    if "GatedRepoError" in names:
        return StorageError(f"{uri} is gated.", "Accept its licence on its page, and set HF_TOKEN to your token.")
    if isinstance(error, PermissionError) or codes & _REFUSED or "NoCredentialsError" in names:
        return _refused(uri, access, codes)
    if isinstance(error, FileNotFoundError):
        return _missing(uri, access, error, codes)
    where = access.endpoint or access.store
    if _unreachable(error, names):
        return StorageError(f"{where} cannot be reached for {uri}.", "Check the network, the endpoint and the proxy.")
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return StorageError(f"{uri} cannot be accessed: {reason.rstrip('.')}.", "Check the URI and the endpoint.")


def _missing(uri: str, access: Access, error: Exception, codes: set[str]) -> StorageError:
    if "NoSuchBucket" in codes:
        where = access.endpoint or access.store
        return StorageError(f"The bucket of {uri} does not exist at {where}.", "Check its name, region and endpoint.")
    if is_refusal(error) and not access.signed:
        return StorageError(f"{uri} does not exist.", f"Check the path; if it is private, set {access.variables}.")
    return StorageError(f"{uri} does not exist.", "Check the path.")


def _refused(uri: str, access: Access, codes: set[str]) -> StorageError:
    if unknown := codes & _BAD_CREDENTIALS:
        where = access.endpoint or access.store
        return StorageError(
            f"{where} did not accept the credentials for {uri} ({min(unknown)}).", f"Check {access.variables}."
        )
    if access.signed:
        return StorageError(f"Access to {uri} was refused.", f"Check that {access.variables} belong to a reader of it.")
    return StorageError(f"Access to {uri} was refused, and no credentials are set.", f"Set {access.variables}.")


def _unreachable(error: Exception, names: set[str]) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    return any(word in name for name in names for word in ("Connect", "Timeout", "Network", "DNS", "SSL"))


def _codes(error: BaseException) -> set[str]:
    """The error codes and HTTP statuses along the chain of causes."""
    found = set()
    for link in _chain(error):
        response = getattr(link, "response", None)
        if isinstance(response, dict):
            found.add(str(response.get("Error", {}).get("Code")))
        elif response is not None:
            found.add(str(getattr(response, "status_code", "")))
    return found


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain
