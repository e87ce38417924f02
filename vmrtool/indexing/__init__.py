"""From files to the catalog: discovery, change detection, and the pipeline between."""
