"""The rules of an audit, one in each file."""
