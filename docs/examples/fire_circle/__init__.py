"""A service as Mallku writes them: asyncio, FastAPI, pydantic; its database is the gateway.

::

    MALLKU_DEV_MODE=true uvicorn fire_circle.app:app            # with a gateway of its own
    MALLKU_API_GATEWAY_URL=nats://… MALLKU_CREDENTIALS=DIR uvicorn fire_circle.app:app

Nothing in it knows of the gateway but the import of `get_database`.
"""
