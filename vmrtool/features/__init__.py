"""Features of videos: backbones, windows, batches on a device."""
