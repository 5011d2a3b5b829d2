"""What is known about a trained model: its figures, uncertainty, explanations, comparisons."""
