"""The same service behind the gateway. For `docs/migrating-mallku.md`."""
