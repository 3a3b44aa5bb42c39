"""Load generators: what is measured, each as one async function that makes one call."""
