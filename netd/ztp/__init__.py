"""Zero-touch provisioning: what devices boot from."""
