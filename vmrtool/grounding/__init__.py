"""The CI-MHA network: settings, losses, decoding of spans, ranking weights, model files."""
