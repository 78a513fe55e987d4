"""The owner of a run: the person at the server's machine, a named user, or a browser session."""

import streamlit as st

from ui.request_guard import paths_open
from ui.settings import Settings

SESSION = "session "
"""What the owner of a visitor without a name begins with; the key of the workspace follows."""


def present_owner(settings: Settings, workspace_id: str) -> str:
    """Return the owner of the present visitor's runs.

    The empty text is the person at the server's machine; the command line and the app share the
    person's runs. On a server with users (`st.login` with an [auth] section in the secrets, or
    `server.trustedUserHeaders`), a user finds the user's runs again.
    """
    if name := user_name():
        return f"user {name}"
    return "" if paths_open(settings) else f"{SESSION}{workspace_id}"


def user_name() -> str:
    """Return the server's name for the visitor; an empty text on a server without users."""
    user = st.user.to_dict()
    if not (user.get("is_logged_in") or st.get_option("server.trustedUserHeaders")):
        return ""
    issuer = f"{user['iss']} " if user.get("iss") else ""
    for key in ("sub", "email", "name"):
        if user.get(key):
            return f"{issuer}{user[key]}"
    return ""


def may_open_workspace(owner: str, workspace_id: str, settings: Settings) -> bool:
    """Return whether the present visitor, who has a workspace's key, may open the workspace."""
    if owner.startswith(SESSION):
        return not user_name()
    return owner == present_owner(settings, workspace_id)
