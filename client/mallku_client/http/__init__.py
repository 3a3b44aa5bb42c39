"""The HTTP door: requests become signed commands, through the ordinary client, over NATS.

Only `transport` is for clients, and needs nothing beyond them; the rest is the door itself, which
needs the extra `http`.
"""
