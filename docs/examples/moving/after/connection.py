"""Where the database comes from."""

from mallku_client.mallku import get_database

__all__ = ["get_database"]
