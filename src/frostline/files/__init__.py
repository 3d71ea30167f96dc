"""The one gate for reading and writing files."""
