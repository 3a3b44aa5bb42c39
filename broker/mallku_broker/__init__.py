"""NATS as code: connections, accounts, streams and the embedded server; knows no database."""
