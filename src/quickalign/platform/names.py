"""Names that people give to keys and tokens, to tell them apart."""

from quickalign.core.errors import OptionError


def check_name(name: str, refusal: str) -> None:
    """Refuse, by the sentence `refusal`, a name that people could not read.

    Raises:
        OptionError: it is blank, too long, or not printable.
    """
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise OptionError(refusal, "Use 1 to 100 printable characters.", field="name")
