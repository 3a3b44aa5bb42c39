"""`doctor`: connects as everybody who may, and tries what nobody should be able to.

What is tried is a table of values (`lists`, `diversions`); `tries` and `watches` do it, `checkup` is
the order of things. Nothing that is tried could do harm if it were let through: see `attempts`.
"""
