"""Attribution maps of a trained model: Grad-CAM, occlusion, and the randomisation test."""
