"""A weight as a frozen base and trained parts: rows, columns, any elements, low rank, scales."""
