"""Small helpers, at the place where PAI's SDK has them: `from quickalign.common.utils import random_str`."""

from quickalign.sdk.words import random_str

__all__ = ["random_str"]
