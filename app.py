"""QuantScope: the cost and the saving of a network's quantization. `streamlit run app.py`."""

from pathlib import Path

import streamlit as st

from analysis.idle_threads import let_idle_threads_sleep
from ui.frame.first_paint import wait_for_imports
from ui.navigation import list_pages
from ui.request_guard import check_request

# a file of our own: an icon by name would be asked of another server
ICON = str(Path(__file__).parent / "ui" / "frame" / "icon.png")
let_idle_threads_sleep()
st.set_page_config(page_title="QuantScope", page_icon=ICON, layout="wide")
check_request()
page = st.navigation(list_pages())
wait_for_imports()

# what needs torch comes after the first paint
from analysis.process_settings import choose_thread_count  # noqa: E402
from ui.frame.frame import show_frame  # noqa: E402
from ui.frame.workspace_registry import keep_workspace_address, open_workspace  # noqa: E402
from ui.state.workspace import has_workspace, present_workspace, set_workspace  # noqa: E402

if not has_workspace():
    choose_thread_count()
    set_workspace(open_workspace())
keep_workspace_address(present_workspace())
show_frame(present_workspace(), present_workspace().begin_page(), on_model=page.url_path == "")
page.run()
