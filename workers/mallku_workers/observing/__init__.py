"""How a worker is seen from outside: discovery, metrics, health, and lines about refusals."""
