"""The process beside the server that converts a net once and draws Grad-CAM, which needs gradients."""
