"""Results that several pages show, computed once."""
