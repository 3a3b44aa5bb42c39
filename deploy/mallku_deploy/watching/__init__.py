"""Workers as somebody outside sees them: found by asking, believed by their signatures."""
