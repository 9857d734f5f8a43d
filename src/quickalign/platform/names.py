"""Names that people give to keys and tokens, to tell them apart."""

from quickalign.core.errors import OptionError

_MOST_CHARACTERS = 100


def check_name(name: str, what: str) -> None:
    """Refuse a name that people could not read; `what` says whose it is to be.

    Raises:
        OptionError: it is blank, too long, or not printable.
    """
    if not name.strip() or len(name) > _MOST_CHARACTERS or not name.isprintable():
        raise OptionError(
            f"{name[:40]!r} cannot be a {what}'s name.",
            f"Use 1 to {_MOST_CHARACTERS} printable characters.",
            field="name",
        )
