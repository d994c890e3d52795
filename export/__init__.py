"""Exports of trained models: writes SavedModels (`writer`) and LiteRT files (`litert`), calls and serves them."""
