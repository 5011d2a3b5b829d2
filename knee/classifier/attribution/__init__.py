"""Which pixels a trained model used: Grad-CAM, occlusion, randomisation."""
