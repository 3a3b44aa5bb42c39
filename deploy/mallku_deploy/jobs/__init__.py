"""Durable jobs as an administrator sees them: those that wait, and those that are dead."""
