"""Looking at devices: discovery of what is there."""
