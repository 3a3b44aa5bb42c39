"""Queries before they run, and between their pages: who may ask what, and who holds the rest."""
