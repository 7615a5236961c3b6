"""Transports to what stands around netd."""
