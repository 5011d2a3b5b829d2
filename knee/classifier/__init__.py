"""Everything that needs TensorFlow or OpenVINO: nets, features, training, inference."""
