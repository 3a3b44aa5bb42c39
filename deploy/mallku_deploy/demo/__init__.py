"""`mallku-gateway demo`: a gateway for a minute, and a story whose every sentence is checked."""
