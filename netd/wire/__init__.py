"""Sans-IO codecs. Nothing here opens, reads a clock, logs or draws entropy; peers' bytes raise nothing but WireError."""
