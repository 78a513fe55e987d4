"""A single spelling for an operation: several ways of writing become a single kind of node."""
