"""The only place that touches the database: each command is proven, allowed and audited first."""
