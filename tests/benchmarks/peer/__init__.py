"""An honest peer: what a careful team builds with FastAPI, PyJWT and SQLite for the same work."""
