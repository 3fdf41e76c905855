"""The data server."""
