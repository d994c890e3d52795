"""LiteRT models for devices: built-in operators alone, noise as an input, metadata that says how to draw."""
