"""The paths under `/api/v1`, each of them one call of the ordinary client."""
