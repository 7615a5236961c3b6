"""Services that work in the background: deliveries, checks."""
