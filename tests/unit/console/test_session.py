import pytest

from quickalign.console.session import LIFETIME_SECONDS, Sessions, read_key
from quickalign.core.errors import StorageError


@pytest.fixture
def clock():
    return [1_000_000.0]


@pytest.fixture
def sessions(platform, clock):
    return Sessions(b"k" * 32, platform.tokens, lambda: clock[0])


def test_a_cookie_names_its_token_and_holds_none(platform, sessions, token):
    cookie = sessions.begin(f" {token} ")
    assert token not in cookie
    assert sessions.find(cookie).token_id == platform.tokens.list()[0].id
    assert not platform.tokens.verify(cookie)


def test_what_is_no_cookie_of_ours_opens_nothing(platform, sessions, token):
    cookie = sessions.begin(token)
    content, _, seal = cookie.rpartition(".")
    later = content.replace(content.split(".")[1], "9999999999")
    other = Sessions(b"x" * 32, platform.tokens)
    for wrong in (
        None,
        "",
        "a.b",
        ".",
        f"{later}.{seal}",
        f"{content}.{'0' * 64}",
        cookie + "0",
        other.begin(token),
        "é.é",
    ):
        assert sessions.find(wrong) is None
    assert sessions.begin("qa-wrong") is None


def test_it_ends_with_its_time_and_with_its_token(platform, sessions, token, clock):
    cookie = sessions.begin(token)
    clock[0] += LIFETIME_SECONDS - 1
    assert sessions.find(cookie)
    clock[0] += 2
    assert sessions.find(cookie) is None
    cookie = sessions.begin(token)
    platform.tokens.revoke(platform.tokens.list()[0].id)
    assert sessions.find(cookie) is None


def test_each_session_has_a_mark_of_its_own(sessions, token):
    first, second = (sessions.find(sessions.begin(token)).csrf for _ in range(2))
    assert first != second


def test_the_key_is_kept_and_private(tmp_path):
    file = tmp_path / "console.key"
    key = read_key(file)
    assert read_key(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"short")
    with pytest.raises(StorageError, match="damaged"):
        read_key(file)
