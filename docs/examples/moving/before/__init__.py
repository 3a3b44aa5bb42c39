"""A small service as it was: it goes to the database by itself. For `docs/migrating-mallku.md`."""
