"""Image files in, answers of a trained model out."""
