"""What is said on the wire and what it means: values and pure functions, no I/O, no clock."""
