"""One command's way through the gateway, told by the trail alone."""
