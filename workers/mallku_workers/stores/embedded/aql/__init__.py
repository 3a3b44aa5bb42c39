"""AQL on the embedded store: value semantics, functions, and the evaluator of queries."""
