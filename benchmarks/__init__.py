"""Measurements; every figure is a median of alternating runs on one machine."""
