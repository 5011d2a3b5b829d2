"""Evidence on a trained model: its figures, uncertainty, explanations, comparisons."""
