"""The work behind the commands, free of Typer."""
