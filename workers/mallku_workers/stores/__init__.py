"""Databases behind one small seam: `base` holds the protocol, each package beside it one store."""
