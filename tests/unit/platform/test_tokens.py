import hashlib

import pytest

from quickalign.core.errors import NotFoundError, OptionError


def test_a_token_is_good_until_it_is_revoked(platform):
    text = platform.tokens.create("laptop")
    assert platform.tokens.verify(text)
    assert not platform.tokens.verify(text + "x")
    assert not platform.tokens.verify("")
    token = platform.tokens.list()[0]
    assert token.name == "laptop"
    platform.tokens.revoke(token.id)
    assert not platform.tokens.verify(text)
    assert platform.tokens.list()[0].revoked_at is not None


def test_only_its_hash_is_stored(on_sqlite):
    text = on_sqlite.tokens.create("laptop")
    content = b"".join(file.read_bytes() for file in on_sqlite.home.root.glob("quickalign.db*"))
    assert text.encode() not in content
    assert hashlib.sha256(text.encode()).hexdigest().encode() in content


def test_names_and_unknown_tokens(platform):
    with pytest.raises(OptionError, match="token's name"):
        platform.tokens.create(" ")
    with pytest.raises(NotFoundError, match="token-none"):
        platform.tokens.revoke("token-none")
