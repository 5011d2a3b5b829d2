"""The process beside the server: it converts a net once, and draws Grad-CAM on request."""
