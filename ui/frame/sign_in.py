"""Logging in, where the server has been given an OIDC provider ([auth] in Streamlit's secrets)."""

import streamlit as st

from ui.run_owner import user_name
from ui.widgets.markdown import plain


def sign_in_box() -> None:
    """Offer to log in or out if the server can; a named user finds the user's runs again."""
    if not st.secrets.load_if_toml_exists() or "auth" not in st.secrets:
        return
    if st.user.to_dict().get("is_logged_in"):
        st.caption(f"Logged in as {plain(str(st.user.to_dict().get('email') or user_name()))}")
        st.button("Log out", key="frame.logout", on_click=st.logout, width="stretch")
    else:
        st.button(
            "Log in",
            key="frame.login",
            on_click=st.login,
            width="stretch",
            help="Your runs are kept under your name; without it they go with this session",
        )
