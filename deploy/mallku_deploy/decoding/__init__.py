"""Messages made readable: what the bytes are, what they say, and whether the signatures hold.

Pure functions over bytes, without pydantic, so that `decode` starts quickly.
"""
