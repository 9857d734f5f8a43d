"""Sessions, at the place where PAI's SDK has them: `from quickalign.session import get_default_session`."""

from quickalign.sdk.session import Session, get_default_session, setup_default_session

__all__ = ["Session", "get_default_session", "setup_default_session"]
