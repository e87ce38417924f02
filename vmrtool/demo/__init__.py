"""The procedural demo archive "blocks": planned scenes, rendered frames, mp4 files and queries."""
