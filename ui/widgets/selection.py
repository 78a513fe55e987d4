"""The name of the point that the user clicked in a chart."""


def clicked_name(value: object) -> str:
    """Return the name in a point's custom data, which is a list or a mapping."""
    if isinstance(value, dict):
        return str(next(iter(value.values())))
    return str(value[0]) if isinstance(value, list | tuple) else str(value)
