"""Looking at devices: discovery of what is there, and telemetry of what it does."""
