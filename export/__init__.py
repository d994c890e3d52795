"""Export of trained models: what leaves Python and runs without tfar."""
