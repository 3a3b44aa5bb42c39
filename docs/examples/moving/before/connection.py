"""Where the database comes from."""

import os

from arango import ArangoClient


def get_database():
    """A new connection for everybody who asks."""
    host = os.environ.get("ARANGO_HOST", "localhost")
    client = ArangoClient(hosts=f"http://{host}:8529")
    return client.db(
        os.environ["ARANGO_DB"],
        username=os.environ["ARANGO_USER"],
        password=os.environ["ARANGO_ROOT_PASSWORD"],
    )
