"""The Streamlit code; outside of ui, only app.py and pages/ may import Streamlit."""
