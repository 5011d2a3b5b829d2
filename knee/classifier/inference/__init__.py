"""A trained model on new images, as fast as the machine allows."""
