"""Why a layer hurts, and what helps."""
