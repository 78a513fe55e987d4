"""What a person picked in a chart."""


def clicked_name(value: object) -> str:
    """Return the name in a point's custom data, which comes as a list or as a mapping."""
    if isinstance(value, dict):
        return str(next(iter(value.values())))
    return str(value[0]) if isinstance(value, list | tuple) else str(value)
