"""Trained models outside of Python: what writes them (`writer`, `litert`), calls them (`client`), serves them."""
