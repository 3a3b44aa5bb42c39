"""The composition: the `mallku-gateway` command line puts all layers together, and only here."""
