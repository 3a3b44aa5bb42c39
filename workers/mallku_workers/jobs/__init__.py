"""Durable jobs: pulled from the stream into free places, carried out by the pipeline, settled.

A job is a signed command that a stream keeps until it is done. Each delivery is an attempt; what it
comes to is decided by `delivery`, and `runner` tells the stream.
"""
