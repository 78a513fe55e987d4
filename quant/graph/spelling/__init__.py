"""One spelling for each operation: what people write in several ways becomes one kind of node."""
