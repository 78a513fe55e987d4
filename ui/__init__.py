"""Everything that may import Streamlit, apart from app.py and pages/."""
