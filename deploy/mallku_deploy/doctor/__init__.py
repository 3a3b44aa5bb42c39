"""`doctor`: connects as everybody who may, and tries what nobody should be able to.

What is tried is a table of values (`lists`, `diversions`); `tries` and `watches` do it, `checkup`
is the order of things. Nothing that is tried does harm where it is let through: see `attempts`.
"""
