"""The net inside the server: compiled for OpenVINO, and a child process for gradients."""
