"""Who may use the app, and who may name files of this machine."""

import pytest

from ui.request_guard import is_local_request, request_problem
from ui.settings import LOCAL_ADDRESSES

HOSTS = frozenset(LOCAL_ADDRESSES)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8501", "http://localhost:8501"),
        ("127.0.0.1:8501", "http://127.0.0.1:8501"),
        ("[::1]:8501", "http://[::1]:8501"),
        ("LOCALHOST:8501", "http://LOCALHOST:8501"),
        ("localhost", None),
    ],
)
def test_the_apps_own_page_is_served_and_may_name_paths(host: str, origin: str | None) -> None:
    headers = {"Host": host, **({"Origin": origin} if origin else {})}
    assert request_problem(headers, HOSTS) == ""
    assert is_local_request(headers, HOSTS)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8501", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.7:8501",
        "evil@localhost", "localhost/evil", "localhost:evil", "", "evil.example#localhost",
    ],
)  # fmt: skip
def test_a_strangers_name_for_this_machine_is_refused(host: str) -> None:
    """A page at evil.example that resolves to 127.0.0.1 has Origin and Host alike."""
    headers = {"host": host, "origin": f"http://{host}"}
    assert "must be reached by a name" in request_problem(headers, HOSTS)
    assert not is_local_request(headers, HOSTS)


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:8501", "https://evil.example", "null", ""]
)
def test_a_page_of_another_port_or_site_is_refused(origin: str) -> None:
    headers = {"host": "localhost:8501", "origin": origin}
    assert "must be opened from its own address" in request_problem(headers, HOSTS)
    assert request_problem(headers, HOSTS, frozenset({origin})) == ""


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP",
        "X-Scheme", "CF-Connecting-IP", "True-Client-IP", "Tailscale-User-Login", "Fly-Client-IP",
        "X-Amzn-Trace-Id", "X-Request-Id", "Remote-User", "X-Goog-Authenticated-User-Email",
    ],
)  # fmt: skip
def test_behind_a_proxy_the_app_is_served_without_paths(name: str) -> None:
    headers = {"Host": "localhost:8501", "Origin": "http://localhost:8501", name: "1.2.3.4"}
    assert request_problem(headers, HOSTS) == ""
    assert not is_local_request(headers, HOSTS)


def test_what_a_browser_sends_is_no_proxy() -> None:
    """The headers of a WebSocket request, as Chromium and Firefox send it."""
    fetch = {f"Sec-Fetch-{one}": "1" for one in ("Dest", "Mode", "Site")}
    socket = {f"Sec-WebSocket-{one}": "1" for one in ("Version", "Key", "Extensions", "Protocol")}
    names = {"Connection", "Pragma", "Cache-Control", "User-Agent", "Upgrade", "Accept-Encoding"}
    plain = dict.fromkeys(names | {"Accept-Language", "Cookie", "Origin", "DNT", "Sec-GPC"}, "1")
    assert is_local_request(plain | fetch | socket | {"Host": "localhost:8501"}, HOSTS)


def test_settings_let_other_names_in() -> None:
    headers = {"host": "lab.example.com", "origin": "https://lab.example.com"}
    assert request_problem(headers, HOSTS)
    for allowed in ("lab.example.com", "*.example.com", "*"):
        assert request_problem(headers, HOSTS | {allowed}) == ""
    assert request_problem(headers, HOSTS | {"*.b.example.com"})
    assert not is_local_request(headers, HOSTS | {"*", "*.example.com"})
    assert is_local_request(headers, HOSTS | {"lab.example.com"})


def test_without_a_browser_there_is_nothing_to_refuse() -> None:
    assert request_problem({}, HOSTS) == ""
    assert is_local_request({}, HOSTS)
