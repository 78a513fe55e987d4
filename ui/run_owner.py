"""Whose a run is: of the person at this machine, of a named user, or of one browser session."""

import streamlit as st

from ui.request_guard import paths_open
from ui.settings import Settings

SESSION = "session "
"""What the owner of a visitor without a name begins with; the key of the workspace follows."""


def present_owner(settings: Settings, workspace_id: str) -> str:
    """Return the owner of what the present visitor makes.

    "" is the person at this machine, whose command line and app share their runs. Where the server
    knows users by name (`st.login` with an [auth] section in the secrets, or
    `server.trustedUserHeaders`), a user finds their runs again.
    """
    if name := user_name():
        return f"user {name}"
    return "" if paths_open(settings) else f"{SESSION}{workspace_id}"


def user_name() -> str:
    """Return what the server knows the visitor by; nothing where it knows no names."""
    user = st.user.to_dict()
    if not (user.get("is_logged_in") or st.get_option("server.trustedUserHeaders")):
        return ""
    issuer = f"{user['iss']} " if user.get("iss") else ""
    for key in ("sub", "email", "name"):
        if user.get(key):
            return f"{issuer}{user[key]}"
    return ""


def may_open_workspace(owner: str, workspace_id: str, settings: Settings) -> bool:
    """Return whether the present visitor may go on with a workspace whose key they have."""
    if owner.startswith(SESSION):
        return not user_name()
    return owner == present_owner(settings, workspace_id)
