"""Who may use the app, and who may name files: decided by the headers of the browser's request.

A page of a foreign site can reach a server on the user's machine: directly, from a different port,
or by a name with the address 127.0.0.1 (DNS rebinding). Streamlit checks the name of the host
(`server.allowedHosts` in `.streamlit/config.toml`), but accepts all ports of the machine.
"""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

import streamlit as st

from ui.plain_text import plain
from ui.settings import LOCAL_ADDRESSES, Settings

BROWSER_HEADERS = frozenset({
    "accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "connection",
    "content-length", "cookie", "dnt", "host", "origin", "pragma", "priority", "referer", "te",
    "upgrade", "upgrade-insecure-requests", "user-agent",
})  # fmt: skip
"""The headers that a browser itself sends, besides those in `_BROWSER_PREFIX`.

A proxy or a gateway adds others, such as X-Forwarded-For, Via or a header of its maker's own.
"""
_BROWSER_PREFIX = "sec-"


def check_request() -> None:
    """End the page run with an error for a request from a page of a different app."""
    problem = request_problem(dict(st.context.headers), _allowed_hosts(), _allowed_origins())
    if problem:
        st.error(plain(problem))
        st.stop()


def request_problem(
    headers: Mapping[str, str], hosts: frozenset[str], origins: frozenset[str] = frozenset()
) -> str:
    """Return the reason to refuse a request; an empty text for a good request.

    Args:
        headers: the headers of the WebSocket request; empty without a browser, as in a test.
        hosts: the names of the app's host; "*" for all names, "*.example.com" for all subdomains.
        origins: origins of other pages with permission to show the app, such as
            "https://example.com".
    """
    if not headers:
        return ""
    sent = _lower_names(headers)
    host, origin = sent.get("host", ""), sent.get("origin")
    if not _is_one_of(_host_name(host), hosts):
        return (
            "The app must be reached by a name that its server knows (localhost, or one in "
            "server.allowedHosts). Open it by that name, or add this one to the setting."
        )
    if origin is not None and origin not in origins and urlsplit(origin).netloc != host:
        return (
            "The app must be opened from its own address; a page of another address asked for it. "
            "Open the app in a tab of its own, or name that page in server.corsAllowedOrigins."
        )
    return ""


def paths_open(settings: Settings) -> bool:
    """Return whether the present visitor may name paths, builders and metrics of the server.

    Outside a page run, as in a job, the settings alone decide, because a page started the job.
    """
    return settings.local_paths and is_local_request(dict(st.context.headers), _local_hosts())


def is_local_request(headers: Mapping[str, str], hosts: frozenset[str]) -> bool:
    """Return whether the headers show a request of the server machine's own browser.

    The host must be in `hosts`, and every header must be one of a browser's: behind a proxy, all
    visitors seem to sit at the server's machine.
    """
    if not headers:
        return True
    sent = _lower_names(headers)
    forwarded = any(
        name not in BROWSER_HEADERS and not name.startswith(_BROWSER_PREFIX) for name in sent
    )
    return _host_name(sent.get("host", "")) in hosts and not forwarded


def _lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _host_name(host: str) -> str:
    """Return the name in a Host header without the port; an empty text for a malformed header."""
    try:
        parsed = urlsplit(f"//{host}")
        plain = parsed.port is None or parsed.port > 0
    except ValueError:
        return ""
    clean = plain and not (parsed.username or parsed.path or parsed.query or parsed.fragment)
    return (parsed.hostname or "").rstrip(".") if clean else ""


def _is_one_of(name: str, hosts: frozenset[str]) -> bool:
    below = any(name.endswith(host[1:]) for host in hosts if host.startswith("*."))
    return bool(name) and (name in hosts or "*" in hosts or below)


def _local_hosts() -> frozenset[str]:
    """Return the names of the server's machine, and the names in the setting QUANTSCOPE_HOSTS."""
    named = os.environ.get("QUANTSCOPE_HOSTS", "").split(",")
    return frozenset((*LOCAL_ADDRESSES, *(one.strip().lower() for one in named if one.strip())))


def _allowed_hosts() -> frozenset[str]:
    """Return the allowed names of the app's host."""
    allowed = st.get_option("server.allowedHosts") or []
    return _local_hosts() | {str(one).strip().lower().rstrip(".") for one in allowed}


def _allowed_origins() -> frozenset[str]:
    allowed = st.get_option("server.corsAllowedOrigins") or []
    return frozenset(str(one).strip() for one in allowed)
