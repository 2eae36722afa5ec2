"""Who a browser is: cookies, and links that log in once."""

import hashlib
from dataclasses import replace

import pytest

from flowd.api.http.config import SCOPES, Access, Token
from flowd.domain.people import Person
from flowd.page.session import LASTS_MS, LINK_LASTS_MS, Sessions

ADA = Person("socket", 1000, "ada")


class Clock:
    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


def token(name: str, text: str, *scopes: str) -> Token:
    return Token(name, hashlib.sha256(text.encode()).digest(), frozenset(scopes or SCOPES))


def access(*tokens: Token, **more: object) -> Access:
    return replace(Access(tokens=tokens, is_read_public=False), **more)


def sent(sessions: Sessions, cookie: str) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", f"other=1; {sessions.cookie_name}={cookie}".encode())]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_token_makes_a_session_of_its_name_and_scopes(clock: Clock) -> None:
    sessions = Sessions(access(token("ci", "secret", "read"), token("boss", "more")), clock)
    cookie = sessions.cookie_for("secret")
    assert cookie is not None
    sender = sessions.sender(sent(sessions, cookie))
    assert sender is not None
    assert (sender.person, sender.scopes) == (Person("token", name="ci"), {"read"})


def test_no_other_text_makes_one(clock: Clock) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    assert sessions.cookie_for("Secret") is None
    assert sessions.cookie_for("") is None


def test_a_session_outlives_the_daemon(clock: Clock) -> None:
    before = Sessions(access(token("ci", "secret")), clock)
    cookie = before.cookie_for("secret") or ""
    after = Sessions(access(token("ci", "secret")), clock)
    assert after.sender(sent(after, cookie)) == before.sender(sent(before, cookie)) is not None


@pytest.mark.parametrize("left", [access(token("ci", "changed")), access(token("other", "secret"))])
def test_a_session_ends_when_its_token_changes_or_goes(clock: Clock, left: Access) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    cookie = sessions.cookie_for("secret") or ""
    sessions.take(left)
    assert sessions.sender(sent(sessions, cookie)) is None


def test_a_session_has_the_scopes_that_its_token_has_now(clock: Clock) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    cookie = sessions.cookie_for("secret") or ""
    sessions.take(access(token("ci", "secret", "read")))
    sender = sessions.sender(sent(sessions, cookie))
    assert sender is not None
    assert sender.scopes == {"read"}


def test_a_session_ends_after_its_time(clock: Clock) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    cookie = sessions.cookie_for("secret") or ""
    clock.now_ms += LASTS_MS - 1
    assert sessions.sender(sent(sessions, cookie)) is not None
    clock.now_ms += 1
    assert sessions.sender(sent(sessions, cookie)) is None


def test_a_cookie_that_was_changed_is_none(clock: Clock) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    cookie = sessions.cookie_for("secret") or ""
    body, _, mac = cookie.partition(".")
    other = Sessions(access(token("ci", "secret")), Clock())
    other._now_ms = lambda: 5  # type: ignore[assignment]
    longer = (other.cookie_for("secret") or "").partition(".")[0]
    for wrong in (body, f"{body}.", f"{body}.{mac[:-1]}0", f"{longer}.{mac}", "", ".", "a.b", "é.x", "[].x"):
        if wrong != cookie:
            assert sessions.sender(sent(sessions, wrong)) is None, wrong


def test_a_link_logs_its_user_in_once(clock: Clock) -> None:
    sessions = Sessions(access(token("ci", "secret", "read")), clock)
    key, ends_at_ms = sessions.link_key(ADA)
    assert ends_at_ms == clock.now_ms + LINK_LASTS_MS
    cookie = sessions.cookie_of(key) or ""
    assert sessions.cookie_of(key) is None
    sender = sessions.sender(sent(sessions, cookie))
    assert sender is not None
    assert (sender.person, sender.scopes) == (ADA, set(SCOPES))
    sessions.take(access(token("ci", "changed", "read")))
    assert sessions.sender(sent(sessions, cookie)) is None


def test_a_link_that_is_too_old_logs_nobody_in(clock: Clock) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    key, _ = sessions.link_key(ADA)
    clock.now_ms += LINK_LASTS_MS
    assert sessions.cookie_of(key) is None


def test_only_the_newest_hundred_links_are_kept(clock: Clock) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    keys = [sessions.link_key(ADA)[0] for _ in range(101)]
    assert sessions.cookie_of(keys[0]) is None
    assert sessions.cookie_of(keys[1]) is not None


def test_without_a_cookie_one_is_who_the_access_lets_in(clock: Clock) -> None:
    assert Sessions(access(token("ci", "secret")), clock).sender([]) is None
    opened = Sessions(Access(), clock).sender([])
    assert opened is not None
    assert opened.scopes == set(SCOPES)
    public = Sessions(access(token("ci", "secret"), is_read_public=True), clock).sender([])
    assert public is not None
    assert public.scopes == {"read"}


def test_daemons_of_one_host_have_cookies_of_their_own(clock: Clock) -> None:
    one, other = (Sessions(access(token("ci", text)), clock) for text in ("a", "b"))
    assert one.cookie_name != other.cookie_name


def test_a_link_is_for_the_user_who_made_it(clock: Clock) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    assert sessions.uid_of(sessions.link_key(ADA)[0]) == 1000
    assert sessions.uid_of("no link") is None


@pytest.mark.parametrize("mac", ["é", "é" * 64, "", "0" * 64])
def test_a_cookie_of_any_characters_is_a_strangers(clock: Clock, mac: str) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    body, _, _ = (sessions.cookie_for("secret") or "").partition(".")
    assert sessions.sender(sent_bytes(sessions, f"{body}.{mac}".encode("latin-1"))) is None


def sent_bytes(sessions: Sessions, cookie: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", sessions.cookie_name.encode() + b"=" + cookie)]


@pytest.mark.parametrize("broken", ["", ".", "x.y", "W1tb.a", "=" * 90, "ä.ö", "bnVsbA.", '"'])
def test_a_cookie_that_is_none_before_one_that_counts_does_no_harm(clock: Clock, broken: str) -> None:
    sessions = Sessions(access(token("ci", "secret")), clock)
    both = f"{broken}; {sessions.cookie_name}={sessions.cookie_for('secret')}"
    assert sessions.sender(sent(sessions, both)) is not None
