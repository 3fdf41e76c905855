"""Flax and JAX runs, logged to streamvis."""
